import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll } from "vitest";
import type * as client from "../../src/index.js";

/** What a page of the upstream has: the package, and the client that a test makes. */
declare global {
  interface Window {
    createClient: typeof client.createClient;
    client: client.PortcullisClient;
    heard: client.SessionEvent[];
  }
}

const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
// Chromium's own sandbox does not run as root.
const launch = { executablePath, args: process.getuid?.() === 0 ? ["--no-sandbox"] : [] };

let browser: Awaited<ReturnType<typeof chromium.launch>>;
const opened: BrowserContext[] = [];
const folders: string[] = [];
beforeAll(async () => {
  browser = await chromium.launch(launch);
});
afterEach(async () => {
  for (const context of opened.splice(0)) await context.close();
  // Processes of the browser may still write there.
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true, maxRetries: 50 });
});
afterAll(() => browser.close());

/** A browser with cookies and storage of its own. */
export async function visitor(): Promise<BrowserContext> {
  const context = await browser.newContext();
  opened.push(context);
  return context;
}

/** A browser whose user has blocked cookies, and with them every storage. */
export async function visitorWithoutCookies(): Promise<BrowserContext> {
  const folder = mkdtempSync(join(tmpdir(), "portcullis-client-"));
  folders.push(folder);
  mkdirSync(join(folder, "Default"));
  const preferences = { profile: { default_content_setting_values: { cookies: 2 } } };
  writeFileSync(join(folder, "Default", "Preferences"), JSON.stringify(preferences));
  const context = await chromium.launchPersistentContext(folder, launch);
  opened.push(context);
  return context;
}

/** Opens a tab at `origin`, with a client of `options` as `window.client` and its events in `window.heard`. */
export async function tab(context: BrowserContext, origin: string, options: client.ClientOptions = {}): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${origin}/app/`);
  await page.waitForSelector("html[data-is-ready]", { state: "attached" });
  await page.evaluate((options) => {
    window.client = window.createClient(options);
    window.heard = [];
    for (const type of ["signedIn", "signedOut", "refreshed", "expired"] as const) {
      window.client.on(type, ({ type, elsewhere }) => window.heard.push({ type, elsewhere }));
    }
  }, options);
  return page;
}

/** Waits until the tab has told of such an event. */
export async function hears(page: Page, type: client.SessionEventType, elsewhere: boolean): Promise<void> {
  await page.waitForFunction(
    ({ type, elsewhere }) => window.heard.some((event) => event.type === type && event.elsewhere === elsewhere),
    { type, elsewhere },
  );
}

/** The e-mail address of the user, or the code of the error. */
export function whoIsIt(page: Page): Promise<string> {
  return page.evaluate(() =>
    window.client.auth.profile().then(
      ({ user }) => user.email,
      (error: client.PortcullisError) => error.code,
    ),
  );
}

/** Writes something to the service behind the gateway; the status, or the code of the error. */
export function write(page: Page, path = "/api/v1/projects"): Promise<number | string> {
  return page.evaluate(
    (path) =>
      window.client.request(path, { method: "POST", json: { name: "x" } }).then(
        ({ status }) => status,
        (error: client.PortcullisError) => error.code,
      ),
    path,
  );
}

/** Makes the access token one that the gateway refuses. */
export function spoil(page: Page): Promise<void> {
  return page.evaluate(() => {
    const key = Object.keys(localStorage).find((key) => key.startsWith("portcullis:"))!;
    localStorage.setItem(key, JSON.stringify({ ...JSON.parse(localStorage.getItem(key)!), accessToken: "expired" }));
  });
}
