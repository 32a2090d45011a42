import { renderToString } from "react-dom/server";
import { expect, test } from "vitest";
import { createClient, type User } from "../../src/index.js";
import { GATEWAY, newUser, PASSWORD } from "../gateway/gateway.js";
import { visitor } from "./browser.js";
import { App } from "./react-page.js";

declare global {
  interface Window {
    mount(html?: string, user?: User | null): void;
  }
}

/** A tab with the page of react-page.tsx, the requests that it sends, and what its console says. */
async function reactTab(context: Awaited<ReturnType<typeof visitor>>) {
  const page = await context.newPage();
  const requests: string[] = [];
  const complaints: string[] = [];
  page.on("request", (request) => requests.push(`${request.method()} ${new URL(request.url()).pathname}`));
  // A 403 is an answer, of which the browser complains all the same.
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !message.text().startsWith("Failed to load resource")) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(`${GATEWAY}/app/react`);
  await page.waitForSelector("html[data-is-ready]", { state: "attached" });
  const profiles = () => requests.filter((line) => line === "GET /api/v1/auth/profile");
  return { page, requests, profiles, complaints };
}

async function registered() {
  const user = newUser();
  const client = createClient({ baseUrl: GATEWAY });
  await client.auth.register(user);
  return { user: (await client.auth.profile()).user, credentials: { email: user.email, password: PASSWORD } };
}

test("hooks follow sign-in and sign-out of this tab and of another", async () => {
  const { credentials } = await registered();
  const context = await visitor();
  const [one, two] = [await reactTab(context), await reactTab(context)];
  for (const { page } of [one, two]) {
    await page.evaluate(() => window.mount());
    await page.waitForSelector("#sign-in");
  }
  expect(one.profiles()).toEqual([]);
  await one.page.evaluate((credentials) => window.client.auth.login(credentials), credentials);
  for (const { page } of [one, two]) expect(await page.textContent("#name")).toBe(credentials.email);
  await two.page.evaluate(() => window.client.auth.logout());
  await one.page.waitForSelector("#sign-in");
  expect([...one.complaints, ...two.complaints]).toEqual([]);
});

test("under Strict Mode the gateway is asked once, whatever gets the focus", async () => {
  const { credentials } = await registered();
  const context = await visitor();
  const first = await reactTab(context);
  await first.page.evaluate((credentials) => window.client.auth.login(credentials), credentials);
  const { page, profiles, requests } = await reactTab(context);
  await page.evaluate(() => window.mount());
  await page.waitForSelector("#name");
  await page.waitForSelector('#details[data-csrf]:not([data-csrf=""])');
  for (let times = 0; times < 5; times += 1) {
    await first.page.bringToFront();
    await page.bringToFront();
    await page.evaluate(() => {
      window.dispatchEvent(new Event("focus"));
      document.dispatchEvent(new Event("visibilitychange"));
    });
  }
  // What a focus had caused would be sent before this.
  await page.evaluate(() => window.client.request("/api/v1/health"));
  expect(profiles()).toHaveLength(1);
  expect(requests.filter((line) => line === "GET /api/v1/csrf-token")).toHaveLength(1);
});

test("a permission that the user has is true", async () => {
  const { page, complaints } = await reactTab(await visitor());
  await page.evaluate(() => window.mount());
  await page.evaluate((password) => window.client.auth.login({ email: "root@example.com", password }), PASSWORD);
  await page.waitForFunction(() => document.querySelector("#details")?.textContent === "may view users");
  await page.evaluate(() => window.client.auth.logout());
  await page.waitForFunction(() => document.querySelector("#details")?.textContent === "may not view users");
  expect(complaints).toEqual([]);
});

test("what a server has rendered is taken over without a request or a difference", async () => {
  const { user, credentials } = await registered();
  const { page, profiles, complaints } = await reactTab(await visitor());
  await page.evaluate((credentials) => window.client.auth.login(credentials), credentials);
  const html = renderToString(<App client={createClient({ baseUrl: GATEWAY })} initialUser={user} />);
  expect(html).toContain(user.email);
  await page.evaluate(([html, user]) => window.mount(html, user), [html, user] as const);
  await page.waitForSelector('#details[data-csrf]:not([data-csrf=""])');
  expect(await page.textContent("#name")).toBe(user.email);
  expect(profiles()).toEqual([]);
  expect(complaints).toEqual([]);
});

test("a server renders visitors, the unknown, and no state of one user for another", async () => {
  const { user } = await registered();
  const render = (initialUser?: User | null) =>
    renderToString(<App client={createClient({ baseUrl: GATEWAY })} initialUser={initialUser} />);
  expect(render(user)).toContain(user.email);
  expect(render(null)).toContain("sign-in");
  expect(render()).toContain("loading");
});
