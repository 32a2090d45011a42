import { expect, test } from "vitest";
import { createClient } from "../../src/index.js";
import { gateway, refuse, serve, storageWith, success } from "./server.js";

async function signedIn() {
  const { state, answer } = gateway();
  const server = await serve(answer);
  return { state, server, client: createClient({ baseUrl: server.url, storage: storageWith(server.url) }) };
}

test("requests that need the token together share one fetch of it", async () => {
  const { client, state, server } = await signedIn();
  await Promise.all([1, 2, 3].map((n) => client.request(`/api/v1/things/${n}`, { method: "DELETE" })));
  await client.request("/api/v1/things/4", { method: "DELETE" });
  expect(state.csrfTokens).toBe(1);
  expect(server.lines().filter((line) => line.startsWith("DELETE"))).toHaveLength(4);
});

test("a safe request carries no token", async () => {
  const { client, state } = await signedIn();
  await client.request("/api/v1/things");
  expect(state.csrfTokens).toBe(0);
});

test("a refused token is renewed once and the body is sent again", async () => {
  const { client, state, server } = await signedIn();
  await client.csrfToken();
  state.csrf = "csrf-2";
  await client.request("/api/v1/things", { method: "POST", json: { a: 1 } });
  const sent = server.received.filter(({ line }) => line === "POST /api/v1/things");
  expect(sent.map(({ headers, body }) => [headers["x-csrf-token"], body])).toEqual([
    ["csrf-1", '{"a":1}'],
    ["csrf-2", '{"a":1}'],
  ]);
});

test("a token that is refused twice is an error with the gateway's hint", async () => {
  const server = await serve((received, response) =>
    received.line.startsWith("GET") ? success(response, { csrfToken: "t" }) : refuse(response, 403, "csrf.invalid_token"),
  );
  const client = createClient({ baseUrl: server.url });
  await expect(client.apiKeys.create({ name: "x" })).rejects.toMatchObject({ status: 403, code: "csrf.invalid_token" });
  expect(server.lines().filter((line) => line.startsWith("POST"))).toHaveLength(2);
});

test("another 403 renews nothing", async () => {
  const server = await serve((received, response) =>
    received.line.startsWith("GET")
      ? success(response, { csrfToken: "t" })
      : refuse(response, 403, "auth.insufficient_permissions"),
  );
  const client = createClient({ baseUrl: server.url });
  await expect(client.users.delete("1")).rejects.toMatchObject({ code: "auth.insufficient_permissions" });
  expect(server.lines()).toEqual(["GET /api/v1/csrf-token", "DELETE /api/v1/users/1"]);
});

test("both a refresh and a renewal can be necessary", async () => {
  const { answer, state } = gateway();
  const server = await serve(answer);
  const client = createClient({ baseUrl: server.url, storage: storageWith(server.url, "old") });
  await client.csrfToken();
  state.csrf = "csrf-2";
  const response = await client.request("/api/v1/things", { method: "PUT", body: "x" });
  expect(response.status).toBe(200);
  expect(state.refreshes).toBe(1);
  expect(server.lines().filter((line) => line === "PUT /api/v1/things")).toHaveLength(3);
});

test("the token can be had for a form, and renewed", async () => {
  const { client, state } = await signedIn();
  expect(await client.csrfToken()).toBe("csrf-1");
  state.csrf = "csrf-2";
  expect(await client.csrfToken()).toBe("csrf-1");
  expect(await client.csrfToken({ renew: true })).toBe("csrf-2");
});

test("a fetch of the token that fails is tried again with the next request", async () => {
  let isDown = true;
  const server = await serve((received, response) =>
    isDown ? response.destroy() : success(response, received.line.startsWith("GET") ? { csrfToken: "t" } : null),
  );
  const client = createClient({ baseUrl: server.url });
  await expect(client.apiKeys.revoke("1")).rejects.toMatchObject({ code: "client.network" });
  isDown = false;
  await expect(client.apiKeys.revoke("1")).resolves.toBeNull();
});
