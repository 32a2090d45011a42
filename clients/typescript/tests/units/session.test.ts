import { afterEach, expect, test, vi } from "vitest";
import { createClient, type PortcullisClient, type SessionEvent } from "../../src/index.js";
import { type Answer, refuse, serve, storageWith, success } from "./server.js";

const clients: PortcullisClient[] = [];
afterEach(() => clients.splice(0).forEach((client) => client.close()));

const tokens = { accessToken: "a", refreshToken: "r" };
const answers: Answer = (received, response) => {
  if (received.line.endsWith("/login")) success(response, { user: { id: "1" }, tokens });
  else success(response, { user: { id: "1" }, csrfToken: "t" });
};

/** A tab of a page: browsers have `location`. `next` resolves with the next event. */
function tab(options: Parameters<typeof createClient>[0]) {
  vi.stubGlobal("location", { origin: "https://page.example" });
  const client = createClient(options);
  clients.push(client);
  const events: SessionEvent[] = [];
  let heard = () => undefined as void;
  for (const type of ["signedIn", "signedOut", "refreshed", "expired"] as const) {
    client.on(type, ({ type, elsewhere }) => {
      events.push({ type, elsewhere });
      heard();
    });
  }
  const next = () =>
    new Promise<SessionEvent | undefined>((resolve) => {
      heard = () => {
        if (events.length === 0) return;
        heard = () => undefined;
        resolve(events.shift());
      };
      heard();
    });
  return { client, next, events };
}

test("tabs hear of sign-in and sign-out", async () => {
  const { url } = await serve(answers);
  const storage = storageWith("nobody");
  const [one, two] = [tab({ baseUrl: url, storage }), tab({ baseUrl: url, storage })];
  await one.client.auth.login({ email: "ada@example.com", password: "x" });
  expect(await one.next()).toEqual({ type: "signedIn", elsewhere: false });
  expect(await two.next()).toEqual({ type: "signedIn", elsewhere: true });
  await two.client.auth.logout();
  expect(await one.next()).toEqual({ type: "signedOut", elsewhere: true });
  expect(await one.client.signedIn()).toBe(false);
});

test("a tab with a storage of its own keeps its session", async () => {
  const { url } = await serve(answers);
  const own = storageWith(url);
  let looks = 0;
  let looked = () => undefined as void;
  // It looks once when it begins, and once for each message.
  const hasLooked = new Promise<void>((resolve) => (looked = resolve));
  const counting = { ...own, getItem: (key: string) => ((looks += 1) === 3 && looked(), own.getItem(key)) };
  const [one, two, three] = [storageWith(url), counting, storageWith("nobody")].map((storage) => tab({ baseUrl: url, storage }));
  await one!.client.auth.logout();
  await three!.client.auth.login({ email: "ada@example.com", password: "x" });
  await hasLooked;
  expect(await two!.client.signedIn()).toBe(true);
  expect(two!.events).toEqual([]);
});

test("a tab that has looked before it hears still tells of the sign-out", async () => {
  const { url } = await serve(answers);
  const storage = storageWith(url);
  const { client, next } = tab({ baseUrl: url, storage });
  await client.signedIn();
  storage.items.clear();
  expect(await client.signedIn()).toBe(false);
  const channel = new BroadcastChannel(`portcullis:${url}`);
  channel.postMessage({ type: "signedOut" });
  expect(await next()).toEqual({ type: "signedOut", elsewhere: true });
  channel.close();
});

test("a message that comes before what it tells of is understood later", async () => {
  const { url } = await serve(answers);
  let stored = () => undefined as void;
  vi.stubGlobal("addEventListener", (type: string, listener: () => void) => type === "storage" && (stored = listener));
  const own = storageWith("nobody");
  let looked = () => undefined as void;
  const storage = { ...own, getItem: (key: string) => (looked(), own.getItem(key)) };
  const { next, events } = tab({ baseUrl: url, storage });
  // The other process of the browser has stored the tokens; this one does not see them yet.
  const channel = new BroadcastChannel(`portcullis:${url}`);
  const hasLooked = new Promise<void>((resolve) => (looked = resolve));
  channel.postMessage({ type: "signedIn" });
  await hasLooked;
  // What it does after the look takes no longer than this turn.
  await new Promise(setImmediate);
  stored();
  await new Promise(setImmediate);
  expect(events).toEqual([]);
  own.setItem(`portcullis:${url}`, JSON.stringify(tokens));
  stored();
  expect(await next()).toEqual({ type: "signedIn", elsewhere: true });
  channel.close();
});

test("messages that nobody here understands change nothing", async () => {
  const { url } = await serve(answers);
  const { client, next } = tab({ baseUrl: url, transport: "cookie" });
  await client.auth.profile();
  const channel = new BroadcastChannel(`portcullis:${url}`);
  for (const message of [null, 7, "signedOut", { type: "renamed" }, { v: 2 }]) {
    channel.postMessage(message);
  }
  // A newer version says more than we read.
  channel.postMessage({ type: "refreshed", v: 2, at: 1 });
  expect(await next()).toEqual({ type: "refreshed", elsewhere: true });
  expect(await client.signedIn()).toBe(true);
  channel.close();
});

test("a listener that is removed hears nothing", async () => {
  const { url } = await serve(answers);
  const { client } = tab({ baseUrl: url, storage: storageWith("nobody") });
  const heard: string[] = [];
  client.on("signedIn", ({ type }) => heard.push(type))();
  await client.auth.login({ email: "ada@example.com", password: "x" });
  expect(heard).toEqual([]);
});

test("a sign-out holds here even if the gateway is gone", async () => {
  const { url } = await serve((_, response) => response.destroy());
  const storage = storageWith(url);
  const { client, events } = tab({ baseUrl: url, storage });
  await expect(client.auth.logout()).rejects.toMatchObject({ code: "client.network" });
  expect(storage.tokens()).toBeNull();
  expect(events).toEqual([{ type: "signedOut", elsewhere: false }]);
});

test("a sign-out by cookie that fails is none", async () => {
  const { url } = await serve((received, response) =>
    received.line.startsWith("GET") ? success(response, { csrfToken: "t" }) : response.destroy(),
  );
  const { client, events } = tab({ baseUrl: url, transport: "cookie" });
  await client.auth.profile();
  await expect(client.auth.logout()).rejects.toMatchObject({ code: "client.network" });
  expect(await client.signedIn()).toBe(true);
  expect(events).toEqual([]);
});

test("a session that has ended already is signed out", async () => {
  const { url } = await serve((_, response) => refuse(response, 401, "auth.token_required"));
  const { client } = tab({ baseUrl: url, storage: storageWith(url) });
  await client.auth.logout();
  expect(await client.signedIn()).toBe(false);
});

test("a registration without tokens signs nobody in", async () => {
  const { url } = await serve((_, response) => success(response, { requiresEmailVerification: true }));
  const { client, events } = tab({ baseUrl: url, storage: storageWith("nobody") });
  const user = { email: "a@b.c", username: "ada", firstName: "A", lastName: "L", password: "12345678", confirmPassword: "12345678" };
  expect(await client.auth.register(user)).toEqual({ requiresEmailVerification: true });
  expect(await client.signedIn()).toBe(false);
  expect(events).toEqual([]);
});

test.each([
  ["always", () => false],
  ["when it is full", (name: string) => name !== "setItem"],
])("a storage that refuses %s is replaced by memory", async (_, allows) => {
  const { url } = await serve(answers);
  const inner = storageWith(url, "stale", "stale");
  const storage = new Proxy(inner, {
    get: (target, name: keyof typeof inner) =>
      typeof target[name] !== "function" || allows(String(name))
        ? target[name]
        : () => {
            throw new DOMException("The quota has been exceeded.", "QuotaExceededError");
          },
  });
  const client = createClient({ baseUrl: url, storage });
  await client.auth.login({ email: "ada@example.com", password: "x" });
  expect(await client.signedIn()).toBe(true);
  await client.auth.profile();
  if (allows("getItem")) expect(inner.tokens()).toBeNull();
});

test.each(["", "null", "7", '"x"', "{", "[]", '{"accessToken":1,"refreshToken":"r"}', '{"accessToken":"a"}'])(
  "a storage that holds %j holds no tokens",
  async (content) => {
    const { url } = await serve(answers);
    const storage = storageWith("nobody");
    storage.setItem(`portcullis:${url}`, content);
    expect(await createClient({ baseUrl: url, storage }).signedIn()).toBe(false);
  },
);

test("tokens of a newer version with more fields are read", async () => {
  const { url } = await serve(answers);
  const storage = storageWith("nobody");
  storage.setItem(`portcullis:${url}`, JSON.stringify({ ...tokens, version: 2, expiresAt: 1 }));
  expect(await createClient({ baseUrl: url, storage }).signedIn()).toBe(true);
});

test("a storage may answer with promises", async () => {
  const { url } = await serve(answers);
  const inner = storageWith("nobody");
  const storage = {
    getItem: async (key: string) => inner.getItem(key),
    setItem: async (key: string, value: string) => inner.setItem(key, value),
    removeItem: async (key: string) => inner.removeItem(key),
  };
  const client = createClient({ baseUrl: url, storage });
  await client.auth.login({ email: "ada@example.com", password: "x" });
  expect(await client.signedIn()).toBe(true);
});

test("cookies are kept where fetch keeps none", async () => {
  const { url, received } = await serve((one, response) => {
    if (one.line.endsWith("/csrf-token")) response.setHeader("set-cookie", ["portcullis-csrf=a=b; Path=/", "portcullis-pre=p; HttpOnly"]);
    if (one.line.endsWith("/logout")) response.setHeader("set-cookie", "portcullis-pre=; Max-Age=0");
    answers(one, response);
  });
  const client = createClient({ baseUrl: url, transport: "cookie", headers: { cookie: "theme=dark; portcullis-pre=old" } });
  await client.csrfToken();
  await client.auth.logout();
  await client.request("/x");
  expect(received.map(({ headers }) => headers.cookie)).toEqual([
    "theme=dark; portcullis-pre=old",
    "theme=dark; portcullis-pre=p; portcullis-csrf=a=b",
    "theme=dark; portcullis-csrf=a=b",
  ]);
  expect(received[0]?.headers.origin).toBe(url);
});

test("a client without baseUrl needs a page", () => {
  expect(() => createClient()).toThrow("createClient needs baseUrl");
});
