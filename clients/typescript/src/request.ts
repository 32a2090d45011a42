import { clientError, fieldsOf, jsonOf, PortcullisError } from "./errors.js";
import type { Cookies } from "./cookies.js";
import type { Csrf } from "./csrf.js";
import type { Credential, Refresh, Session } from "./session.js";

/** Beside what `fetch` takes. */
export interface RequestOptions extends Omit<RequestInit, "body"> {
  /** Sent as JSON. */
  json?: unknown;
  /** A function makes the body anew for each time that the request is sent; for streams, which can be read once. */
  body?: BodyInit | null | (() => BodyInit);
  /** Milliseconds until the head of the response, each time that it is sent. */
  timeout?: number;
  /** How often to send again after 429 or 503 with `Retry-After`, if the method is idempotent. */
  retries?: number;
}

/** What the sender needs to know of its client. */
export interface Parts {
  base: URL;
  fetch: typeof fetch;
  headers: Headers;
  cookies: Cookies;
  csrf: Csrf;
  session: Session;
  /** Absent where a 401 is final. */
  refresh: Refresh | undefined;
  timeout: number;
  retries: number;
}

/** The longest `Retry-After` that is waited for. */
const LONGEST_WAIT_MS = 30_000;
const MOST_REDIRECTS = 20;
const SAFE = /^(GET|HEAD|OPTIONS)$/;
const IDEMPOTENT = /^(GET|HEAD|OPTIONS|PUT|DELETE)$/;
/** The gateway asks for no CSRF token here, except of a request by session cookie. */
const SIGN_IN = /^\/api\/(v\d+\/)?auth\//;
/** What must not leave for another origin. */
const CREDENTIALS = ["authorization", "x-csrf-token", "x-api-key", "cookie"];

/** A request that can be sent several times. */
interface Prepared {
  url: URL;
  init: RequestInit;
  method: string;
  headers: Headers;
  body: () => BodyInit | null;
  isRepeatable: boolean;
  signal: AbortSignal | undefined;
  timeout: number;
}

/** Sends a request with the session and the CSRF token, and again where that helps. `read` runs within the timeout. */
export async function send<T>(
  parts: Parts,
  input: RequestInfo | URL,
  options: RequestOptions,
  read: (response: Response) => T | Promise<T>,
): Promise<T> {
  const request = await prepare(parts, input, options);
  const { method, headers, signal, timeout } = request;
  const { refresh, csrf: csrfTokens } = parts;
  if (request.url.origin !== parts.base.origin) {
    return within(signal, timeout, async (given) => read(await elsewhere(parts, request, given)));
  }
  const hasOwnCredential = headers.has("authorization") || headers.has("x-api-key");
  const needsCsrf = !SAFE.test(method) && !headers.has("x-csrf-token");
  const isIdempotent = IDEMPOTENT.test(method) || headers.has("idempotency-key");
  let retries = isIdempotent && request.isRepeatable ? (options.retries ?? parts.retries) : 0;
  let mayRefresh = !hasOwnCredential;
  let isCsrfRenewed = false;

  for (;;) {
    const credential: Credential = hasOwnCredential ? null : await parts.session.credential();
    let csrf: string | null = null;
    if (needsCsrf) {
      const mayLackIt = SIGN_IN.test(request.url.pathname) && !isCsrfRenewed;
      csrf = mayLackIt ? (csrfTokens.known() ?? null) : await within(signal, 0, csrfTokens.token);
    }
    const outcome = await within(signal, timeout, async (given) => {
      const sending = new Headers(headers);
      if (typeof credential === "string") sending.set("authorization", `Bearer ${credential}`);
      if (csrf !== null) sending.set("x-csrf-token", csrf);
      const response = await follow(parts, request, sending, given);
      const remedy = await remedyFor(response);
      const helps =
        (remedy === "refresh" && refresh && mayRefresh && credential !== null) ||
        (remedy === "csrf" && needsCsrf && !isCsrfRenewed) ||
        (typeof remedy === "number" && retries > 0);
      return helps ? { isDone: false as const, response, remedy } : { isDone: true as const, value: await read(response) };
    });
    if (outcome.isDone) return outcome.value;
    const { response, remedy } = outcome;

    if (typeof remedy === "number") {
      retries -= 1;
      await within(signal, 0, () => new Promise((resolve) => setTimeout(resolve, remedy)));
    } else if (remedy === "csrf") {
      isCsrfRenewed = true;
      csrfTokens.refused(csrf);
    } else {
      mayRefresh = false;
      if (!(await within(signal, 0, () => refresh!(credential)))) return within(signal, timeout, () => read(response));
    }
    if (!request.isRepeatable) throw spentBody();
    void response.body?.cancel().catch(() => undefined);
  }
}

async function prepare(parts: Parts, input: RequestInfo | URL, options: RequestOptions): Promise<Prepared> {
  const { json, body: given, timeout, retries: _, headers: _headers, signal, ...rest } = options;
  const source = input instanceof Request ? input : undefined;
  const url = new URL(source ? source.url : String(input), parts.base);
  const method = (options.method ?? source?.method ?? "GET").toUpperCase();
  const isOurs = url.origin === parts.base.origin;
  const headers = new Headers(isOurs ? parts.headers : undefined);
  for (const [name, value] of new Headers(options.headers ?? source?.headers)) headers.set(name, value);
  let body = given ?? null;
  if (json !== undefined) {
    body = JSON.stringify(json);
    if (!headers.has("content-type")) headers.set("content-type", "application/json");
  } else if (body === null && source && !SAFE.test(method)) {
    // Read into memory, because a request can be sent once only.
    body = await source.clone().blob();
    if (body.size === 0) body = null;
  }
  const { cache, redirect, credentials } = source ?? ({} as Partial<Request>);
  const taken = source && { cache, redirect };
  return {
    url,
    method,
    headers,
    init: { ...taken, credentials: isOurs ? "include" : credentials, ...rest, method },
    body: () => (typeof body === "function" ? body() : body),
    isRepeatable: !isStream(body),
    signal: signal ?? source?.signal,
    timeout: timeout ?? parts.timeout,
  };
}

/** Whether a body can be read once only. */
function isStream(body: unknown): boolean {
  return body instanceof ReadableStream || Symbol.asyncIterator in Object(body);
}

/** Another origin receives what the caller gave, and nothing of ours. */
function elsewhere({ fetch }: Parts, { url, init, headers, body: make }: Prepared, signal: AbortSignal): Promise<Response> {
  const body = make();
  return fetch(url, { ...init, headers, body, signal, ...(isStream(body) && { duplex: "half" }) });
}

function spentBody(): PortcullisError {
  return clientError(
    "body_not_repeatable",
    "The body is a stream that was read. hint: a function as body makes it anew",
  );
}

/**
 * Runs `exchange` until the caller's signal aborts or the timeout ends. Its signal is aborted as well, later too by the caller: a body
 * that is read afterwards is under no timeout.
 */
async function within<T>(
  signal: AbortSignal | undefined,
  timeout: number,
  exchange: (given: AbortSignal) => T | Promise<T>,
): Promise<T> {
  const late = new AbortController();
  const given = AbortSignal.any(signal ? [signal, late.signal] : [late.signal]);
  // Beyond 2^31 a timer fires at once.
  const timer = setTimeout(() => {
    if (timeout > 0 && timeout < 2 ** 31) late.abort(clientError("timeout", `No response in ${timeout} ms`));
  }, timeout);
  try {
    given.throwIfAborted();
    const aborted = new Promise<never>((_, reject) => {
      given.addEventListener("abort", () => reject(given.reason as Error));
    });
    return await Promise.race([exchange(given), aborted]);
  } catch (error) {
    given.throwIfAborted();
    if (error instanceof PortcullisError) throw error;
    throw clientError("network", "No response, or half. hint: offline, CORS, a redirect?", error);
  } finally {
    clearTimeout(timer);
  }
}

/** Sends the request and follows redirects so that no other origin sees a credential or the CSRF token. */
async function follow(
  parts: Parts,
  request: Prepared,
  headers: Headers,
  signal: AbortSignal,
): Promise<Response> {
  const init: RequestInit & { duplex?: "half" } = { ...request.init, signal };
  let { url, method } = request;
  let body = request.body();
  // Streams need it; TypeScript's types do not know it yet.
  if (isStream(body)) init.duplex = "half";
  const isFollowing = (init.redirect ?? "follow") === "follow";
  // A browser then refuses to leave its origin; from another one it shows no redirect, so that none is followed.
  const isBrowsersTask = globalThis.location?.origin === parts.base.origin;
  if (isFollowing) Object.assign(init, isBrowsersTask ? { mode: "same-origin" } : { redirect: "manual" });

  for (let redirects = 0; ; redirects += 1) {
    const isOurs = url.origin === parts.base.origin;
    if (isOurs) parts.cookies.addTo(headers);
    const response = await parts.fetch(url, { ...init, method, headers, body });
    if (isOurs) parts.cookies.keep(response.headers);
    if (!isFollowing || isBrowsersTask) return response;
    const location = response.headers.get("location");
    const isOpaque = response.type === "opaqueredirect";
    if (!isOpaque && (!location || !/^30[12378]/.test(String(response.status)))) return response;
    if (!location || redirects === MOST_REDIRECTS) {
      throw clientError("redirected", "A redirect without end, or to an address that is hidden");
    }
    void response.body?.cancel().catch(() => undefined);
    url = new URL(location, url);
    if (url.origin !== parts.base.origin) {
      for (const name of [...CREDENTIALS, ...parts.headers.keys()]) headers.delete(name);
      init.credentials = "omit";
    }
    if (response.status === 303 ? method !== "HEAD" : response.status < 303 && method === "POST") {
      method = "GET";
      body = null;
      headers.delete("content-type");
    } else {
      if (!request.isRepeatable) throw spentBody();
      body = request.body();
    }
  }
}

/** What could help a refused request: a refresh, a new CSRF token, or so many milliseconds. */
async function remedyFor(response: Response): Promise<"refresh" | "csrf" | number | undefined> {
  const { status, headers } = response;
  if (status === 429 || status === 503) {
    const wait = retryAfter(headers);
    return wait !== undefined && wait <= LONGEST_WAIT_MS ? wait : undefined;
  }
  // A service behind the gateway may have a 401 of its own, of which a refresh would change nothing.
  if ((status !== 401 && status !== 403) || !headers.get("content-type")?.includes("json")) return undefined;
  const { code } = fieldsOf(await jsonOf(response.clone()));
  if (status === 403) return code === "csrf.invalid_token" ? "csrf" : undefined;
  return code === "auth.invalid_token" || code === "auth.token_required" ? "refresh" : undefined;
}

/** Milliseconds of `Retry-After`. A date is compared with that of the response, because our clock may be wrong. */
function retryAfter(headers: Headers): number | undefined {
  const value = headers.get("retry-after");
  if (value === null) return undefined;
  const wait = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.parse(headers.get("date") ?? "");
  return Number.isNaN(wait) ? undefined : Math.max(0, wait);
}
