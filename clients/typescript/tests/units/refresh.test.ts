import { expect, test, vi } from "vitest";
import { createClient } from "../../src/index.js";
import { type Answer, gateway, json, refuse, serve, storageWith, success } from "./server.js";

/** A client whose access token is refused until it refreshes. */
async function expired(overrides: { refresh?: Answer; service?: Answer } = {}) {
  const { state, answer } = gateway(overrides.service);
  const server = await serve((received, response) =>
    received.line === "POST /api/v1/auth/refresh" && overrides.refresh
      ? overrides.refresh(received, response)
      : answer(received, response),
  );
  const storage = storageWith(server.url, "old");
  const client = createClient({ baseUrl: server.url, storage });
  const events: string[] = [];
  for (const type of ["signedIn", "signedOut", "refreshed", "expired"] as const) client.on(type, () => events.push(type));
  return { client, server, storage, state, events };
}

test("requests that fail together share one refresh", async () => {
  const { client, server, state, storage, events } = await expired();
  const responses = await Promise.all(Array.from({ length: 10 }, (_, n) => client.request(`/api/v1/things/${n}`)));
  expect(responses.map(({ status }) => status)).toEqual(Array(10).fill(200));
  expect(state.refreshes).toBe(1);
  expect(server.received.find(({ line }) => line.endsWith("/refresh"))?.body).toBe('{"refreshToken":"refresh-1"}');
  expect(storage.tokens()).toEqual({ accessToken: "access-2", refreshToken: "refresh-2" });
  expect(events).toEqual(["refreshed"]);
});

test("a body is sent again after the refresh", async () => {
  const { client, server } = await expired();
  await client.request("/api/v1/things", { method: "POST", json: { name: "x" } });
  const bodies = server.received.filter(({ line }) => line === "POST /api/v1/things").map(({ body }) => body);
  expect(bodies).toEqual(['{"name":"x"}', '{"name":"x"}']);
});

test("the body of a Request is sent again too", async () => {
  const { client, server } = await expired();
  const request = new Request(`${server.url}/api/v1/things`, {
    method: "PUT",
    body: "hello",
    headers: { "content-type": "text/plain" },
  });
  await client.fetch(request);
  const sent = server.received.filter(({ line }) => line === "PUT /api/v1/things");
  expect(sent.map(({ body }) => body)).toEqual(["hello", "hello"]);
  expect(sent.map(({ headers }) => headers["content-type"])).toEqual(["text/plain", "text/plain"]);
});

test("a stream that was read is refused clearly after the refresh", async () => {
  const { client, state } = await expired();
  const sending = client.request("/api/v1/things", { method: "POST", body: new Blob(["once"]).stream() });
  await expect(sending).rejects.toMatchObject({ name: "PortcullisError", code: "client.body_not_repeatable", status: 0 });
  expect(state.refreshes).toBe(1);
  const again = await client.request("/api/v1/things", { method: "POST", body: new Blob(["once"]).stream() });
  expect(again.status).toBe(200);
});

test("a function as body makes the stream anew", async () => {
  const { client, server } = await expired();
  await client.request("/api/v1/things", { method: "POST", body: () => new Blob(["again"]).stream() });
  const bodies = server.received.filter(({ line }) => line === "POST /api/v1/things").map(({ body }) => body);
  expect(bodies).toEqual(["again", "again"]);
});

test("a request is sent again once only", async () => {
  const { client, server } = await expired({ service: (_, response) => refuse(response, 401, "auth.invalid_token") });
  await expect(client.request("/api/v1/things")).rejects.toMatchObject({ code: "auth.invalid_token", requestId: "r1" });
  expect(server.lines()).toEqual(["GET /api/v1/things", "POST /api/v1/auth/refresh", "GET /api/v1/things"]);
});

test("a 401 of a service behind the gateway refreshes nothing", async () => {
  const server = await serve((_, response) => json(response, 401, { message: "my own business" }));
  const client = createClient({ baseUrl: server.url, storage: storageWith(server.url) });
  await expect(client.request("/api/v1/things")).rejects.toMatchObject({
    code: "client.error_response",
    status: 401,
    message: "my own business",
    details: { message: "my own business" },
  });
  expect(server.lines()).toEqual(["GET /api/v1/things"]);
});

test("a refused refresh ends the session", async () => {
  const { client, storage, events } = await expired({
    refresh: (_, response) => refuse(response, 401, "auth.invalid_refresh_token"),
  });
  await expect(client.auth.profile()).rejects.toMatchObject({ status: 401, code: "auth.invalid_token" });
  expect(events).toEqual(["expired"]);
  expect(storage.tokens()).toBeNull();
  expect(await client.signedIn()).toBe(false);
});

test.each([
  ["a 502 in HTML", (_, response) => response.writeHead(502, { "content-type": "text/html" }).end("<h1>Bad</h1>")],
  ["a 401 of a proxy in HTML", (_, response) => response.writeHead(401, { "content-type": "text/html" }).end("no")],
  ["garbage", (_, response) => response.writeHead(200, { "content-type": "application/json" }).end("{]")],
  ["a success without tokens", (_, response) => success(response, { tokens: {} })],
  ["nothing", (_, response) => response.destroy()],
  ["half an answer", (_, response) => response.writeHead(200, { "content-length": "99" }).write("{", () => response.destroy())],
] as [string, Answer][])("%s is no reason to sign out, and is tried twice", async (_, refresh) => {
  const { client, server, storage, events } = await expired({ refresh });
  await expect(client.auth.profile()).rejects.toMatchObject({ name: "PortcullisError", code: /^client\./ });
  expect(server.lines().filter((line) => line.endsWith("/refresh"))).toHaveLength(2);
  expect(storage.tokens()).toEqual({ accessToken: "old", refreshToken: "refresh-1" });
  expect(events).toEqual([]);
});

test("a refresh that fails once succeeds the second time", async () => {
  let times = 0;
  const { client, state, storage } = await expired({
    refresh: (_, response) => {
      if ((times += 1) === 1) return void response.destroy();
      state.access = "second";
      success(response, { tokens: { accessToken: "second", refreshToken: "r" } });
    },
  });
  expect(await client.auth.refresh()).toBe(true);
  expect(storage.tokens()).toEqual({ accessToken: "second", refreshToken: "r" });
});

test("a refresh without a response is given up after four seconds", async () => {
  vi.useFakeTimers();
  const fetched: string[] = [];
  const storage = storageWith("http://gateway.test");
  const client = createClient({
    baseUrl: "http://gateway.test",
    storage,
    fetch: (input, init) => {
      fetched.push(String(input));
      return new Promise((_, reject) => {
        init?.signal?.addEventListener("abort", () => reject(init.signal?.reason as Error));
      });
    },
  });
  const refreshing = expect(client.auth.refresh()).rejects.toMatchObject({ code: "client.timeout" });
  await vi.advanceTimersByTimeAsync(3_999);
  expect(fetched).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(4_001);
  await refreshing;
  vi.useRealTimers();
  expect(fetched).toHaveLength(2);
  expect(storage.tokens()).not.toBeNull();
});

test("tokens that another tab has stored are used without a refresh", async () => {
  const { client, state, storage } = await expired();
  expect(await client.signedIn()).toBe(true);
  state.access = "of the other tab";
  const server = await serve((received, response) => {
    // While the old token is on its way, the other tab stores its own.
    if (received.headers.authorization === "Bearer old") {
      other.put("new", "refresh-9");
      return refuse(response, 401, "auth.invalid_token");
    }
    success(response, received.headers.authorization);
  });
  const other = storageWith(server.url, "old");
  const second = createClient({ baseUrl: server.url, storage: other });
  expect(await (await second.request("/x")).json()).toMatchObject({ data: "Bearer new" });
  expect(server.lines()).toEqual(["GET /x", "GET /x"]);
  expect(storage.tokens()?.accessToken).toBe("old");
});

test("a refresh that another tab has overtaken does not end the session", async () => {
  const { client, storage, events } = await expired({
    refresh: (_, response) => {
      storage.put("access-1", "refresh-9");
      refuse(response, 401, "auth.invalid_refresh_token");
    },
  });
  expect(await client.auth.refresh()).toBe(true);
  expect(storage.tokens()).toEqual({ accessToken: "access-1", refreshToken: "refresh-9" });
  expect(events).toEqual([]);
});

test("a sign-out during a refresh stays one", async () => {
  const { client, storage } = await expired({
    refresh: (_, response) => {
      storage.items.clear();
      success(response, { tokens: { accessToken: "late", refreshToken: "late" } });
    },
  });
  expect(await client.auth.refresh()).toBe(false);
  expect(storage.tokens()).toBeNull();
});

test("refresh: false leaves a 401 as it is", async () => {
  const { server, storage } = await expired();
  const client = createClient({ baseUrl: server.url, storage, refresh: false });
  await expect(client.auth.profile()).rejects.toMatchObject({ status: 401 });
  expect(server.lines()).toEqual(["GET /api/v1/auth/profile"]);
});

test("a credential of the caller's own is sent as it is", async () => {
  const { client, server } = await expired();
  const response = await client.fetch("/api/v1/things", { headers: { "X-API-Key": "pk_1" } });
  expect(response.status).toBe(401);
  expect(server.lines()).toEqual(["GET /api/v1/things"]);
  expect(server.received[0]?.headers.authorization).toBeUndefined();
});
