import { cookieJar } from "./cookies.js";
import { csrfKeeper } from "./csrf.js";
import { type CallOptions, endpoints } from "./endpoints.js";
import { clientError, errorOf, fieldsOf, jsonOf } from "./errors.js";
import { type Events, sessionEvents } from "./events.js";
import type { components } from "./openapi.js";
import { type Parts, type RequestOptions, send } from "./request.js";
import { cookieSession, isRefusal, refresher, tokenSession } from "./session.js";
import { type TokenStorage, tokenStore } from "./storage.js";

type Schemas = components["schemas"];
type SignedUp = Schemas["Registered"] | Schemas["RegistrationReceived"];

export interface ClientOptions {
  /** The origin of the gateway, such as `https://api.example.com`; by default that of the page. */
  baseUrl?: string | URL;
  /** `token` (default): bearer tokens in `storage`. `cookie`: `HttpOnly` cookies, which no script can read. */
  transport?: "token" | "cookie";
  /** Where tokens are kept. `localStorage` by default where there is one, else memory. */
  storage?: TokenStorage;
  /** Sent with each request to the gateway. */
  headers?: HeadersInit;
  /** Milliseconds until the response to a request, 30,000 by default. */
  timeout?: number;
  /** How often an idempotent request is sent again after 429 or 503 with `Retry-After`; twice by default. */
  retries?: number;
  /** `false` leaves refreshing to others: on a server that renders a page with the cookies of its request. */
  refresh?: boolean;
  /** In place of the global `fetch`. */
  fetch?: typeof fetch;
}

export type PortcullisClient = ReturnType<typeof createClient>;

const API = "/api/v1";
const REFRESH_TIMEOUT_MS = 4_000;

/** A client of one gateway. On a server, make one for each user's request, because it holds a session. */
export function createClient(options: ClientOptions = {}) {
  const page = typeof location === "undefined" ? undefined : location.origin;
  if (!options.baseUrl && !page) throw new TypeError("createClient needs baseUrl");
  const base = new URL(options.baseUrl ?? page!);
  const isByCookie = options.transport === "cookie";
  const headers = new Headers(options.headers);
  const cookies = cookieJar(headers.get("cookie"));
  headers.delete("cookie");
  // Only a browser says by itself where a request comes from; the gateway asks for it with cookies.
  if (isByCookie && page === undefined) headers.set("origin", base.origin);

  const events: Events = sessionEvents(`portcullis:${base.origin}`, (type) => void session.heard(type));
  const csrf = csrfKeeper(async () => textOf(await call("GET", "/csrf-token"), "csrfToken"));
  const emit: Events["emit"] = (type, elsewhere) => events.emit(type, elsewhere);
  const session = isByCookie
    ? cookieSession(emit, csrf.forget)
    : tokenSession(emit, tokenStore(`portcullis:${base.origin}`, options.storage));
  const refresh = refresher(session, async (refreshToken) => {
    const given = { timeout: REFRESH_TIMEOUT_MS, retries: 0 };
    return tokensOf(await call("POST", "/auth/refresh", { refreshToken }, given, false));
  });
  const parts: Parts = {
    base,
    fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
    headers,
    cookies,
    csrf,
    session,
    refresh: options.refresh === false ? undefined : refresh,
    timeout: options.timeout ?? 30_000,
    retries: options.retries ?? 2,
  };

  /** Resolves with `data` of the response. Without `isRefreshable`, a 401 is final. */
  function call<T>(method: string, path: string, json?: unknown, given?: CallOptions, isRefreshable = true): Promise<T> {
    const using = isRefreshable ? parts : { ...parts, refresh: undefined };
    return send(using, API + path, { ...given, method, json }, async (response) => {
      const body = await jsonOf(response);
      const { success, data } = fieldsOf(body);
      if (!response.ok || success !== true) throw errorOf(response, body);
      return data as T;
    });
  }

  /** The `tokens` of a response, of the form that this transport has. */
  function tokensOf(data: unknown): unknown {
    const { tokens } = fieldsOf(data);
    if (!isByCookie) {
      textOf(tokens, "accessToken");
      textOf(tokens, "refreshToken");
    }
    return tokens;
  }

  async function signIn<T>(data: T): Promise<T> {
    await session.begin(tokensOf(data));
    return data;
  }

  async function login(credentials: Omit<Schemas["LoginRequest"], "transport">, given?: CallOptions) {
    const json = { ...credentials, ...(isByCookie && { transport: "cookie" }) };
    return signIn(await call<Schemas["SignedIn"]>("POST", "/auth/login", json, given, false));
  }

  /** Makes a user and signs in, unless the response has no tokens because the address must be confirmed first. */
  async function signUp<T>(path: string, user: Schemas["RegisterRequest"], given?: CallOptions): Promise<T> {
    const data = await call<T>("POST", path, user, given, false);
    const { tokens } = fieldsOf(data);
    if (!tokens) return data;
    if (!isByCookie) return signIn(data);
    // Registering answers with tokens only: their session gives way to one by cookie.
    await call("POST", "/auth/logout", { refreshToken: textOf(tokens, "refreshToken") }, given, false);
    return { ...data, ...(await login({ email: user.email, password: user.password }, given)) };
  }

  /** The user who is signed in. */
  async function profile(given?: CallOptions): Promise<Schemas["UserData"]> {
    const data = await call<Schemas["UserData"]>("GET", "/auth/profile", undefined, given);
    session.confirmed();
    return data;
  }

  async function logout({ all, ...given }: { all?: boolean } & CallOptions = {}): Promise<void> {
    const refreshToken = await session.refreshToken();
    // A tab that is closed now has signed out here all the same; cookies can be removed by the gateway only.
    if (!isByCookie) {
      if (!refreshToken) return;
      await session.end("signedOut");
    }
    await call("POST", "/auth/logout", { refreshToken, all }, given, false).catch((error: unknown) => {
      if (!isRefusal(error) || error.status !== 401) throw error; // It has ended already.
    });
    if (isByCookie) await session.end("signedOut");
  }

  const { auth, users, apiKeys } = endpoints(call);
  return {
    auth: {
      ...auth,
      login,
      profile,
      register: (user: Schemas["RegisterRequest"], given?: CallOptions) =>
        signUp<SignedUp>("/auth/register", user, given),
      /** Makes the first administrator, with the token of the link that the gateway prints. */
      firstAdministrator: (user: Schemas["FirstAdministratorRequest"], given?: CallOptions) =>
        signUp<Schemas["FirstAdministrator"]>("/auth/first-administrator", user, given),
      /** Signs out. With tokens it does so here even if it rejects because the gateway cannot be reached. */
      logout,
      /** Refreshes now; resolves with whether there still is a session. Requests do so by themselves. */
      refresh: () => refresh(),
    },
    /** What needs permissions on users. */
    users,
    /** The user's own. */
    apiKeys,
    /** Like `fetch`, with the session and the CSRF token for the gateway's origin, and nothing of them for any other. */
    fetch: (input: RequestInfo | URL, init: RequestOptions = {}): Promise<Response> =>
      send(parts, input, init, (response) => response),
    /** Like `fetch` of the client, and rejects with a `PortcullisError` unless the response is a 2xx. */
    request: (path: RequestInfo | URL, init: RequestOptions = {}): Promise<Response> =>
      send(parts, path, init, async (response) => {
        if (!response.ok) throw errorOf(response, await jsonOf(response));
        return response;
      }),
    /** The CSRF token, for a form or a library of one's own. `renew` fetches it again. */
    csrfToken: ({ renew = false } = {}): Promise<string> => {
      if (renew) csrf.forget();
      return csrf.token();
    },
    /** Whether there is a session; `undefined` if only the gateway knows, which `auth.profile()` asks. */
    signedIn: session.signedIn,
    /** Calls the listener after each such event, of other tabs too. Returns a function that ends it. */
    on: events.on,
    /** Stops listening to other tabs. */
    close: events.close,
  };
}

function textOf(value: unknown, name: string): string {
  const text = fieldsOf(value)[name];
  if (typeof text === "string" && text) return text;
  throw clientError("unexpected_response", `The response has no ${name}`);
}
