import { expect, test, vi } from "vitest";
import { createClient } from "../../src/index.js";
import { gateway, refuse, serve, storageWith, success } from "./server.js";

const SECRETS = ["authorization", "x-csrf-token", "x-api-key", "cookie", "x-of-the-client"];
const secretsIn = (headers: object) => Object.keys(headers).filter((name) => SECRETS.includes(name));

/** A gateway, whose `/leave` redirects to another origin with `status`, and that origin. */
async function twoOrigins(status: number) {
  const other = await serve((_, response) => success(response, "elsewhere"));
  const { answer } = gateway((received, response) => {
    if (received.line.endsWith("/leave")) response.writeHead(status, { location: `${other.url}/found` }).end();
    else if (received.line.endsWith("/move")) response.writeHead(status, { location: "/moved" }).end();
    else success(response, received.headers.authorization);
  });
  const server = await serve((received, response) => {
    response.setHeader("set-cookie", "portcullis-csrf=secret; HttpOnly; Path=/");
    answer(received, response);
  });
  const headers = { "X-Of-The-Client": "secret" };
  const client = createClient({ baseUrl: server.url, storage: storageWith(server.url), headers });
  return { server, other, client };
}

test.each([301, 302, 303, 307, 308])("a redirect (%i) takes no credential to another origin", async (status) => {
  const { server, other, client } = await twoOrigins(status);
  await client.request("/leave", { method: "POST", body: "text", headers: { "content-type": "text/plain" } });
  await client.request("/leave");
  const sent = secretsIn(server.received[1]?.headers ?? {});
  expect(sent.sort()).toEqual(["authorization", "cookie", "x-csrf-token", "x-of-the-client"]);
  expect(other.lines()).toEqual([status < 304 ? "GET /found" : "POST /found", "GET /found"]);
  expect(other.received[0]?.body).toBe(status < 304 ? "" : "text");
  for (const { headers } of other.received) expect(secretsIn(headers)).toEqual([]);
});

test("a redirect within the gateway keeps them", async () => {
  const { server, client } = await twoOrigins(307);
  await client.request("/move", { method: "PUT", body: "text" });
  const moved = server.received.find(({ line }) => line === "PUT /moved");
  expect(moved).toMatchObject({ body: "text", headers: { authorization: "Bearer access-1", "x-csrf-token": "csrf-1" } });
});

test("a redirect of a stream is refused, because it cannot be sent again", async () => {
  const { client } = await twoOrigins(308);
  await expect(client.request("/move", { method: "PUT", body: new Blob(["x"]).stream() })).rejects.toMatchObject({
    code: "client.body_not_repeatable",
  });
});

test("redirects without end are an error", async () => {
  const server = await serve((_, response) => response.writeHead(302, { location: "/" }).end());
  const client = createClient({ baseUrl: server.url });
  await expect(client.request("/")).rejects.toMatchObject({ code: "client.redirected" });
  expect(server.received).toHaveLength(21);
});

test("redirect: manual shows the redirect", async () => {
  const { client } = await twoOrigins(302);
  const response = await client.fetch("/leave", { redirect: "manual" });
  expect(response.status).toBe(302);
});

test.each(["absolute", "protocol-relative", "backslashes"])("an address of another origin (%s) receives nothing of ours", async (form) => {
  const { client, other } = await twoOrigins(302);
  const { host } = new URL(other.url);
  const address = { absolute: other.url, "protocol-relative": `//${host}`, backslashes: `\\\\${host}` }[form]!;
  await client.csrfToken();
  await client.fetch(address, { method: "POST", body: "x", headers: { "X-Mine": "1" } });
  expect(other.received[0]?.headers["x-mine"]).toBe("1");
  expect(secretsIn(other.received[0]?.headers ?? {})).toEqual([]);
});

test("a refusal of another origin touches neither session nor token", async () => {
  const other = await serve((_, response) => refuse(response, 401, "auth.invalid_token"));
  const { client, server } = await twoOrigins(302);
  expect((await client.fetch(other.url)).status).toBe(401);
  expect(server.lines()).toEqual([]);
  expect(await client.signedIn()).toBe(true);
});

test("tokens that another gateway gave are not sent", async () => {
  const { answer } = gateway();
  const server = await serve(answer);
  const client = createClient({ baseUrl: server.url, storage: storageWith("https://another.example") });
  await expect(client.auth.profile()).rejects.toMatchObject({ status: 401 });
  expect(server.lines()).toEqual(["GET /api/v1/auth/profile"]);
  expect(server.received[0]?.headers.authorization).toBeUndefined();
});

test("a page of another origin refuses a redirect that it cannot see", async () => {
  vi.stubGlobal("location", { origin: "https://page.example" });
  const opaque = Object.defineProperty(Response.error(), "type", { value: "opaqueredirect" });
  const modes: unknown[] = [];
  const client = createClient({
    baseUrl: "https://gateway.example",
    fetch: (_, init) => {
      modes.push(init?.redirect);
      return Promise.resolve(opaque);
    },
  });
  await expect(client.request("/x")).rejects.toMatchObject({ code: "client.redirected" });
  expect(modes).toEqual(["manual"]);
  client.close();
});

test("a page of the gateway lets the browser refuse other origins", async () => {
  vi.stubGlobal("location", { origin: "https://gateway.example" });
  const modes: unknown[] = [];
  const client = createClient({
    fetch: (_, init) => {
      modes.push(init?.mode);
      return Promise.resolve(new Response("ok"));
    },
  });
  await client.request("/x");
  expect(modes).toEqual(["same-origin"]);
  client.close();
});
