import { expect, test } from "vitest";
import { createClient } from "../../src/index.js";
import { GATEWAY, newUser, PASSWORD, SHORT_LIVED, UPSTREAM } from "../gateway/gateway.js";
import { hears, spoil, tab, visitor, visitorWithoutCookies, whoIsIt, write } from "./browser.js";

const transports = ["token", "cookie"] as const;

/** A user who is registered. */
async function registered(gateway = GATEWAY) {
  const user = newUser();
  await createClient({ baseUrl: gateway }).auth.register(user);
  return { email: user.email, password: PASSWORD };
}

test.each(transports)("sign-in by %s lasts over a reload, sign-out is seen in the other tab", async (transport) => {
  const credentials = await registered();
  const context = await visitor();
  const [one, two] = [await tab(context, GATEWAY, { transport }), await tab(context, GATEWAY, { transport })];
  const wrong = await one.evaluate(
    (email) => window.client.auth.login({ email, password: "wrong" }).catch((error: { code: string }) => error.code),
    credentials.email,
  );
  expect(wrong).toBe("auth.invalid_credentials");
  await one.evaluate((credentials) => window.client.auth.login(credentials), credentials);
  await hears(two, "signedIn", true);
  expect(await whoIsIt(two)).toBe(credentials.email);
  expect(await whoIsIt(await tab(context, GATEWAY, { transport }))).toBe(credentials.email);
  expect(await write(one)).toBe(200);
  await two.evaluate(() => window.client.auth.logout());
  await hears(one, "signedOut", true);
  expect(await one.evaluate(() => window.client.signedIn())).toBe(false);
  expect(await whoIsIt(one)).toBe("auth.token_required");
});

test.each(transports)("by %s, a CSRF token that is gone is renewed", async (transport) => {
  const credentials = await registered();
  const context = await visitor();
  const page = await tab(context, GATEWAY, { transport });
  await page.evaluate((credentials) => window.client.auth.login(credentials), credentials);
  expect(await write(page)).toBe(200);
  await context.clearCookies({ name: "portcullis-csrf" });
  expect(await write(page)).toBe(200);
});

test("ten tabs that refresh at once rotate once, and nobody is signed out", async () => {
  const credentials = await registered();
  const context = await visitor();
  const tabs = await Promise.all(Array.from({ length: 10 }, () => tab(context, GATEWAY)));
  await tabs[0]!.evaluate((credentials) => window.client.auth.login(credentials), credentials);
  const refreshTokens = new Set<string>();
  context.on("response", async (response) => {
    if (!response.url().endsWith("/auth/refresh")) return;
    const { data } = (await response.json()) as { data: { tokens: { refreshToken: string } } };
    refreshTokens.add(data.tokens.refreshToken);
  });
  await spoil(tabs[0]!);
  expect(await Promise.all(tabs.map(whoIsIt))).toEqual(Array(10).fill(credentials.email));
  expect(refreshTokens.size).toBe(1);
  expect(await Promise.all(tabs.map(whoIsIt))).toEqual(Array(10).fill(credentials.email));
});

test("ten tabs whose cookie has expired stay signed in", async () => {
  const credentials = await registered();
  const context = await visitor();
  const tabs = await Promise.all(Array.from({ length: 10 }, () => tab(context, GATEWAY, { transport: "cookie" })));
  await tabs[0]!.evaluate((credentials) => window.client.auth.login(credentials), credentials);
  await Promise.all(tabs.slice(1).map((page) => hears(page, "signedIn", true)));
  await context.clearCookies({ name: "portcullis-session" });
  expect(await Promise.all(tabs.map(whoIsIt))).toEqual(Array(10).fill(credentials.email));
  expect(await Promise.all(tabs.map((page) => write(page)))).toEqual(Array(10).fill(200));
});

test("offline is no sign-out", async () => {
  const credentials = await registered();
  const context = await visitor();
  const page = await tab(context, GATEWAY);
  await page.evaluate((credentials) => window.client.auth.login(credentials), credentials);
  await spoil(page);
  await context.setOffline(true);
  expect(await whoIsIt(page)).toBe("client.network");
  expect(await page.evaluate(() => window.client.signedIn())).toBe(true);
  await context.setOffline(false);
  expect(await whoIsIt(page)).toBe(credentials.email);
});

test.each(transports)("by %s, a tab that slept past the token's life wakes signed in", async (transport) => {
  const credentials = await registered(SHORT_LIVED);
  const context = await visitor();
  const page = await tab(context, SHORT_LIVED, { transport });
  const { tokens } = await page.evaluate((credentials) => window.client.auth.login(credentials), credentials);
  const devtools = await context.newCDPSession(page);
  await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
  const authorization = tokens.accessToken ? { authorization: `Bearer ${tokens.accessToken}` } : undefined;
  // Until the gateway refuses what the tab holds.
  while ((await context.request.get(`${SHORT_LIVED}/api/v1/auth/profile`, { headers: authorization })).ok());
  await devtools.send("Page.setWebLifecycleState", { state: "active" });
  expect(await whoIsIt(page)).toBe(credentials.email);
  await hears(page, "refreshed", false);
});

test("without cookies and storage a session lives in memory", async () => {
  const credentials = await registered();
  const page = await tab(await visitorWithoutCookies(), GATEWAY);
  const refusal = await page.evaluate(() => {
    try {
      return String(localStorage.length);
    } catch (error) {
      return (error as Error).name;
    }
  });
  expect(refusal).toBe("SecurityError");
  await page.evaluate((credentials) => window.client.auth.login(credentials), credentials);
  expect(await whoIsIt(page)).toBe(credentials.email);
  // The gateway's default wants a cookie with what is written; its refusal is passed on.
  expect(await write(page)).toBe("csrf.invalid_token");
});

test.each(transports)("a page of an allowed origin works by %s", async (transport) => {
  const credentials = await registered();
  const page = await tab(await visitor(), UPSTREAM, { baseUrl: GATEWAY, transport });
  await page.evaluate((credentials) => window.client.auth.login(credentials), credentials);
  expect(await whoIsIt(page)).toBe(credentials.email);
  expect(await write(page)).toBe(200);
});

test("a page of an origin that is not allowed gets no response", async () => {
  const page = await tab(await visitor(), UPSTREAM.replace("127.0.0.1", "localhost"), { baseUrl: GATEWAY });
  expect(await whoIsIt(page)).toBe("client.network");
});

test("a redirect takes no credential to another origin", async () => {
  const credentials = await registered();
  const context = await visitor();
  for (const [origin, code] of [[GATEWAY, "client.network"], [UPSTREAM, "client.redirected"]] as const) {
    const page = await tab(context, origin, { baseUrl: GATEWAY });
    await page.evaluate((credentials) => window.client.auth.login(credentials), credentials);
    expect(await write(page, "/api/v1/projects/leave")).toBe(code);
  }
  // Not even a preflight has come from a page. (Programs were there, without a credential: see runtime.mjs.)
  const taken = (await (await fetch(`${UPSTREAM}/taken/list`)).json()) as { headers: Record<string, string> }[];
  expect(taken.filter(({ headers }) => headers["origin"])).toEqual([]);
});

test("a service worker has a session of its own", async () => {
  const credentials = await registered();
  const page = await tab(await visitor(), GATEWAY);
  const email = await page.evaluate(
    async ([gateway, credentials]) => {
      const registration = await navigator.serviceWorker.register("/app/worker.js", { type: "module" });
      await navigator.serviceWorker.ready;
      const { port1, port2 } = new MessageChannel();
      const answered = new Promise((resolve) => (port1.onmessage = ({ data }) => resolve(data)));
      registration.active!.postMessage({ gateway, credentials }, [port2]);
      return answered;
    },
    [GATEWAY, credentials] as const,
  );
  expect(email).toBe(credentials.email);
});
