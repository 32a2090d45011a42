import { expect, test, vi } from "vitest";
import { createClient, PortcullisError } from "../../src/index.js";
import { type Answer, json, refuse, serve, success } from "./server.js";

const clientOf = async (answer: Answer, options = {}) => {
  const server = await serve(answer);
  return { server, client: createClient({ baseUrl: server.url, ...options }) };
};

test.each([
  ["HTML", 200, "client.unexpected_response", (_, response) => response.end("<html>")],
  ["a 502 in HTML", 502, "client.unexpected_response", (_, response) => response.writeHead(502).end("<html>")],
  ["garbage", 200, "client.unexpected_response", (_, response) => response.end('{"success":tru')],
  ["another program's JSON", 200, "client.unexpected_response", (_, response) => json(response, 200, [1])],
  ["JSON null", 200, "client.unexpected_response", (_, response) => json(response, 200, null)],
  ["no body", 200, "client.unexpected_response", (_, response) => response.end()],
  ["nothing", 0, "client.network", (_, response) => response.destroy()],
  ["half", 0, "client.network", (_, response) => response.writeHead(200, { "content-length": "9" }).write("{", () => response.destroy())],
  ["an error of a service", 404, "client.error_response", (_, response) => json(response, 404, { message: "no" })],
] as [string, number, string, Answer][])("%s is a typed error", async (_, status, code, answer) => {
  const { client } = await clientOf(answer);
  const error = await client.auth.profile().then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(PortcullisError);
  expect(error).toMatchObject({ status, code });
});

test("an error of the gateway keeps its fields", async () => {
  const body = { success: false, error: "Validation failed", message: "The body is wrong", code: "request.validation_failed" };
  const { client } = await clientOf((_, response) =>
    json(response, 400, { ...body, details: { body: ["email: too long"] } }, { "x-request-id": "r9" }),
  );
  await expect(client.auth.forgotPassword({ email: "x" })).rejects.toMatchObject({
    name: "PortcullisError",
    status: 400,
    code: "request.validation_failed",
    error: "Validation failed",
    message: "The body is wrong",
    details: { body: ["email: too long"] },
    requestId: "r9",
  });
});

test("an error in the form of RFC 9457 is understood", async () => {
  const { client } = await clientOf((_, response) =>
    json(response, 404, { title: "Not found", detail: "No such user.", code: "resource.not_found", requestId: "r2" }),
  );
  await expect(client.users.get("1")).rejects.toMatchObject({
    code: "resource.not_found",
    error: "Not found",
    message: "No such user.",
    requestId: "r2",
  });
});

test("a response that does not come is a timeout", async () => {
  const { client } = await clientOf(() => undefined, { timeout: 20 });
  await expect(client.request("/slow")).rejects.toMatchObject({ code: "client.timeout", status: 0 });
});

test("a body that does not end is a timeout of a call", async () => {
  const { client } = await clientOf((_, response) => void response.write('{"success":'));
  await expect(client.auth.profile({ timeout: 20 })).rejects.toMatchObject({ code: "client.timeout" });
});

test("a body that is read later is under no timeout", async () => {
  let finish = () => undefined as void;
  const { client } = await clientOf((_, response) => {
    response.write("one ");
    finish = () => void response.end("two");
  });
  vi.useFakeTimers();
  const response = await client.request("/download", { timeout: 50 });
  await vi.advanceTimersByTimeAsync(100);
  vi.useRealTimers();
  finish();
  expect(await response.text()).toBe("one two");
});

test("an abort rejects with the caller's reason", async () => {
  const controller = new AbortController();
  const { client } = await clientOf(() => controller.abort(new Error("enough")));
  await expect(client.request("/slow", { signal: controller.signal })).rejects.toThrow("enough");
  await expect(client.request("/slow", { signal: controller.signal })).rejects.toThrow("enough");
});

test("an abort does not wait for what others wait for", async () => {
  const controller = new AbortController();
  const { client, server } = await clientOf((received, response) => {
    if (received.line.startsWith("GET")) return controller.abort();
    success(response, null);
  });
  await expect(client.apiKeys.revoke("1", { signal: controller.signal })).rejects.toMatchObject({ name: "AbortError" });
  expect(server.lines()).toEqual(["GET /api/v1/csrf-token"]);
});

test("values in paths and queries are encoded", async () => {
  const { client, server } = await clientOf((_, response) => success(response, {}));
  await client.users.get("../../audit-logs?x#y");
  await client.users.list({ search: "a&b=c", page: 2, role: undefined });
  expect(server.lines()).toEqual(["GET /api/v1/users/..%2F..%2Faudit-logs%3Fx%23y", "GET /api/v1/users?search=a%26b%3Dc&page=2"]);
});

test.each([429, 503])("a %i with Retry-After is waited for", async (status) => {
  let times = 0;
  const { client, server } = await clientOf((_, response) =>
    (times += 1) < 3 ? refuse(response, status, "busy", { "retry-after": "0" }) : success(response, "at last"),
  );
  expect(await (await client.request("/x", { method: "PUT", headers: { "x-csrf-token": "t" } })).json()).toMatchObject({ data: "at last" });
  expect(server.received).toHaveLength(3);
});

test("the wait is as long as the gateway says", async () => {
  vi.useFakeTimers();
  let times = 0;
  const client = createClient({
    baseUrl: "http://gateway.test",
    fetch: () =>
      Promise.resolve((times += 1) === 1 ? new Response("", { status: 503, headers: { "retry-after": "7" } }) : new Response("ok")),
  });
  const requesting = client.request("/x");
  await vi.advanceTimersByTimeAsync(6_999);
  expect(times).toBe(1);
  await vi.advanceTimersByTimeAsync(1);
  expect((await requesting).status).toBe(200);
  vi.useRealTimers();
});

test("a date in Retry-After counts from the server's clock", async () => {
  // Our clock is a day ahead: by it, the time to wait for is over; a day behind, it would be a day away.
  let times = 0;
  const answer: Answer = (_, response) => {
    response.setHeader("date", "Wed, 01 Jan 2020 00:00:00 GMT");
    if ((times += 1) > 1) return success(response, null);
    refuse(response, 503, "busy", { "retry-after": "Wed, 01 Jan 2020 00:00:00 GMT" });
  };
  const { client } = await clientOf(answer);
  expect((await client.request("/x")).status).toBe(200);
  expect(times).toBe(2);
});

test("a request that may have had an effect is not repeated", async () => {
  const { client, server } = await clientOf((received, response) =>
    received.line.startsWith("GET") ? success(response, { csrfToken: "t" }) : refuse(response, 503, "busy", { "retry-after": "0" }),
  );
  await expect(client.request("/x", { method: "POST", body: "x" })).rejects.toMatchObject({ status: 503 });
  expect(server.lines().filter((line) => line === "POST /x")).toHaveLength(1);
  // With a key the gateway recognises the repetition.
  const headers = { "Idempotency-Key": "k" };
  await expect(client.request("/x", { method: "POST", body: "x", headers })).rejects.toMatchObject({ status: 503 });
  expect(server.lines().filter((line) => line === "POST /x")).toHaveLength(4);
});

test("a wait that is too long, or unknown, is left to the caller", async () => {
  const { client, server } = await clientOf((received, response) =>
    refuse(response, 429, "rate.limited", { "retry-after": received.line.endsWith("/long") ? "31" : "soon" }),
  );
  await expect(client.request("/long")).rejects.toMatchObject({ code: "rate.limited" });
  await expect(client.request("/soon")).rejects.toMatchObject({ code: "rate.limited" });
  expect(server.received).toHaveLength(2);
});
