import type { Events, SessionEventType } from "./events.js";
import { fieldsOf, PortcullisError } from "./errors.js";
import type { StoredTokens, TokenStore } from "./storage.js";

/** What a request was sent with: the access token, or by cookie the number of changes until then; `null` without a session. */
export type Credential = string | number | null;

/** A session in one of the two transports. */
export interface Session {
  credential(): Promise<Credential>;
  /** Whether there is a session; `undefined` if only the gateway knows. */
  signedIn(): Promise<boolean | undefined>;
  refreshToken(): Promise<string | undefined>;
  /** The gateway has accepted a request of it. */
  confirmed(): void;
  /** Begins with the `tokens` of a sign-in. */
  begin(tokens: unknown): Promise<void>;
  /** Ends here; the gateway has ended it, or cannot be reached. */
  end(type: "signedOut" | "expired"): Promise<void>;
  /** Another tab reports something. */
  heard(type: SessionEventType): Promise<void>;
  /** Takes the response to a refresh with `sent`. */
  refreshed(sent: string | undefined, tokens: unknown): Promise<void>;
  /** Whether another tab has replaced what was sent, so that its refusal means nothing. */
  isReplaced(sent: string | undefined): Promise<boolean>;
}

/** Refreshes after `used` was refused. Resolves with whether a request may be sent again; rejects if that cannot be known now. */
export type Refresh = (used?: Credential) => Promise<boolean>;

/** Codes that end the session for good. Anything else, a 502 or no network, says nothing about it. */
const SESSION_ENDED = /^(auth\.(invalid_refresh_token|token_required)|request\.validation_failed)$/;

/**
 * Makes the one way to refresh, of which one runs at a time. Tabs that refresh at the same moment receive the same tokens from the
 * gateway, which remembers a rotation for ten seconds, so that no lock between them is needed. `request` sends the refresh token, or
 * nothing by cookie, and resolves with `tokens`.
 */
export function refresher(session: Session, request: (refreshToken: string | undefined) => Promise<unknown>): Refresh {
  let running: Promise<boolean> | undefined;

  async function run(): Promise<boolean> {
    const sent = await session.refreshToken();
    try {
      // The second time is within the ten seconds in which the gateway gives the same successor again.
      const tokens = await request(sent).catch((error: unknown) => {
        if (isRefusal(error)) throw error;
        return request(sent);
      });
      await session.refreshed(sent, tokens);
    } catch (error) {
      if (!isRefusal(error) || !SESSION_ENDED.test(error.code)) throw error;
      if (!(await session.isReplaced(sent))) await session.end("expired");
    }
    return (await session.credential()) !== null;
  }

  return async (used) => {
    const current = await session.credential();
    if (current === null || (used !== undefined && current !== used)) return current !== null;
    return (running ??= run().finally(() => (running = undefined)));
  };
}

/** Whether the gateway has refused in its own words, a 4xx. */
export function isRefusal(error: unknown): error is PortcullisError {
  return error instanceof PortcullisError && error.status > 399 && error.status < 500 && !error.code.startsWith("client.");
}

/** Tokens in a storage that tabs share. What is stored counts; messages of other tabs are only a reason to look. */
export function tokenSession(emit: Events["emit"], store: TokenStore): Session {
  const read = async () => (await store.read())?.refreshToken;
  /** The refresh token of the session of which the listeners know. */
  let known: string | undefined;
  const isLookedAt = read().then((stored) => (known = stored));
  const write = (tokens: unknown) => {
    const pair = fieldsOf(tokens) as unknown as StoredTokens;
    known = pair.refreshToken;
    return store.write(pair);
  };
  const isReplaced = async (sent: string | undefined) => (await read()) !== sent;
  /** A message that came before what it tells of: processes of a browser see a change of localStorage a moment later. */
  let early: SessionEventType | undefined;
  const heard = async (type: SessionEventType) => {
    await isLookedAt;
    const now = await read();
    const before = known;
    known = now;
    early = now === before ? type : undefined;
    if (early) return;
    if (!now) emit(type === "expired" ? type : "signedOut", true);
    else emit(type === "signedIn" || !before ? "signedIn" : "refreshed", true);
  };
  globalThis.addEventListener?.("storage", () => early && heard(early));

  return {
    credential: async () => (await store.read())?.accessToken ?? null,
    signedIn: async () => !!(await read()),
    refreshToken: read,
    confirmed: () => undefined,
    begin: async (tokens) => {
      await write(tokens);
      emit("signedIn");
    },
    end: async (type) => {
      known = undefined;
      await store.clear();
      emit(type);
    },
    heard,
    refreshed: async (sent, tokens) => {
      // In the meantime this or another tab may have signed out, or in as somebody else.
      if (await isReplaced(sent)) return;
      await write(tokens);
      emit("refreshed");
    },
    isReplaced,
  };
}

/** A session in `HttpOnly` cookies, which no script sees. `changed` runs when the cookies belong to another session. */
export function cookieSession(emit: Events["emit"], changed: () => void): Session {
  let isSignedIn: boolean | undefined;
  let generation = 1;
  const become = (signedIn: boolean, type: SessionEventType, elsewhere?: boolean) => {
    isSignedIn = signedIn;
    generation += 1;
    if (type !== "refreshed") changed();
    emit(type, elsewhere);
  };

  return {
    credential: async () => (isSignedIn === false ? null : generation),
    signedIn: async () => isSignedIn,
    refreshToken: async () => undefined,
    confirmed: () => {
      isSignedIn = true;
    },
    begin: async () => become(true, "signedIn"),
    end: async (type) => {
      // A visitor who never signed in has nothing that could expire.
      if (type === "signedOut" || isSignedIn) become(false, type);
      else isSignedIn = false;
    },
    heard: async (type) => become(type === "signedIn" || type === "refreshed", type, true),
    refreshed: async () => become(true, "refreshed"),
    isReplaced: async () => false,
  };
}
