import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach } from "vitest";
import type { TokenStorage } from "../../src/index.js";

/** A request that a server received. */
export interface Received {
  line: string;
  headers: IncomingMessage["headers"];
  body: string;
}

export type Answer = (received: Received, response: ServerResponse) => void;

export interface TestServer {
  url: string;
  received: Received[];
  /** The lines (`GET /path`) of what was received. */
  lines(): string[];
}

const running = new Set<Server>();
afterEach(() => {
  for (const server of running) {
    server.close();
    server.closeAllConnections();
  }
  running.clear();
});

/** A server on a free port that answers as told, until the end of the test. */
export async function serve(answer: Answer): Promise<TestServer> {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      const one = { line: `${request.method} ${request.url}`, headers: request.headers, body };
      received.push(one);
      answer(one, response);
    });
  });
  running.add(server);
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, received, lines: () => received.map(({ line }) => line) };
}

export function json(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
}

/** A success of the gateway. */
export function success(response: ServerResponse, data: unknown): void {
  json(response, 200, { success: true, data, message: "ok", statusCode: 200 });
}

/** A refusal of the gateway. */
export function refuse(response: ServerResponse, status: number, code: string, headers: Record<string, string> = {}): void {
  json(response, status, { success: false, error: code, message: `${code}.`, code, requestId: "r1", statusCode: status }, headers);
}

/** Answers as the gateway does: counts refreshes, gives one CSRF token, and refuses access tokens other than the last. */
export function gateway(service: Answer = (_, response) => success(response, "done")) {
  const state = { refreshes: 0, csrfTokens: 0, access: "access-1", csrf: "csrf-1" };
  const answer: Answer = (received, response) => {
    if (received.line === "GET /api/v1/csrf-token") {
      state.csrfTokens += 1;
      return success(response, { csrfToken: state.csrf });
    }
    if (received.line === "POST /api/v1/auth/refresh") {
      state.refreshes += 1;
      state.access = `access-${state.refreshes + 1}`;
      return success(response, { tokens: { accessToken: state.access, refreshToken: `refresh-${state.refreshes + 1}` } });
    }
    if (received.headers.authorization !== `Bearer ${state.access}`) return refuse(response, 401, "auth.invalid_token");
    if (!received.line.startsWith("GET") && received.headers["x-csrf-token"] !== state.csrf) {
      return refuse(response, 403, "csrf.invalid_token");
    }
    service(received, response);
  };
  return { state, answer };
}

/** A storage that holds tokens for the gateway at `url`, as a page finds it. */
export function storageWith(url: string, accessToken = "access-1", refreshToken = "refresh-1") {
  const items = new Map([[`portcullis:${url}`, JSON.stringify({ accessToken, refreshToken })]]);
  return {
    items,
    tokens: () => JSON.parse(items.get(`portcullis:${url}`) ?? "null") as { accessToken: string; refreshToken: string } | null,
    put: (accessToken: string, refreshToken: string) =>
      void items.set(`portcullis:${url}`, JSON.stringify({ accessToken, refreshToken })),
    getItem: (key: string) => items.get(key) ?? null,
    setItem: (key: string, value: string) => void items.set(key, value),
    removeItem: (key: string) => void items.delete(key),
  } satisfies TokenStorage & Record<string, unknown>;
}
