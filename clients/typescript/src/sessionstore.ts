import { type PortcullisClient, PortcullisError, type User } from "./index.js";

export interface SessionState {
  /** `failed`: the gateway could not be asked; `error` says why, and `reload` asks again. */
  status: "loading" | "signedIn" | "signedOut" | "failed";
  user: User | null;
  /** Known once a component has asked for one. */
  permissions: readonly string[] | null;
  error: unknown;
}

const NOTHING: SessionState = { status: "loading", user: null, permissions: null, error: null };
const SIGNED_OUT: SessionState = { ...NOTHING, status: "signedOut" };

/** The store of each client: one for all its providers and hooks, so that the gateway is asked once, also under Strict Mode. */
const stores = new WeakMap<PortcullisClient, SessionStore>();

export type SessionStore = ReturnType<typeof makeStore>;

export function sessionStore(client: PortcullisClient, initialUser: User | null | undefined): SessionStore {
  const store = stores.get(client) ?? makeStore(client, initialUser);
  stores.set(client, store);
  return store;
}

function makeStore(client: PortcullisClient, initialUser: User | null | undefined) {
  /** What a server renders, and a browser until it has hydrated. */
  const initial = initialUser ? signedIn(initialUser) : initialUser === null ? SIGNED_OUT : NOTHING;
  let state = initial;
  let isListening = false;
  /** Rises with each thing that makes a response on its way out of date. */
  let turn = 0;
  let loadingPermissionsOf: string | undefined;
  const listeners = new Set<() => void>();

  const set = (next: SessionState) => {
    state = next;
    for (const listener of [...listeners]) listener();
  };

  async function reload(): Promise<void> {
    const mine = (turn += 1);
    let next: SessionState;
    try {
      const isSignedOut = (await client.signedIn()) === false;
      next = isSignedOut ? SIGNED_OUT : signedIn((await client.auth.profile()).user);
    } catch (error) {
      const isSignedOut = error instanceof PortcullisError && error.status === 401 && !error.code.startsWith("client.");
      // A user who is known stays: what fails is the network.
      next = isSignedOut ? SIGNED_OUT : state.user ? { ...state, error } : { ...NOTHING, status: "failed", error };
    }
    if (mine !== turn) return;
    if (next.user?.id === state.user?.id) next = { ...next, permissions: state.permissions };
    else loadingPermissionsOf = undefined;
    set(next);
  }

  const signOut = () => {
    turn += 1;
    loadingPermissionsOf = undefined;
    set(SIGNED_OUT);
  };

  /** Listens to the client from the first subscription on, for as long as the client lives. */
  function listen(): void {
    isListening = true;
    client.on("signedIn", () => void reload());
    client.on("signedOut", signOut);
    client.on("expired", signOut);
    if (state.status === "loading") void reload();
  }

  return {
    client,
    initial,
    reload,
    current: () => state,
    subscribe: (listener: () => void): (() => void) => {
      listeners.add(listener);
      if (!isListening) listen();
      return () => void listeners.delete(listener);
    },
    /** Asks for the permissions of the user, once. */
    loadPermissions: async (id: string): Promise<void> => {
      if (loadingPermissionsOf === id) return;
      loadingPermissionsOf = id;
      let permissions: string[] = [];
      try {
        permissions = (await client.users.permissions(id)).allPermissions;
      } catch (error) {
        // 403: the gateway does not tell them. Anything else may go by.
        if ((error as PortcullisError).status !== 403) return void (loadingPermissionsOf = undefined);
      }
      if (state.user?.id === id) set({ ...state, permissions });
    },
  };
}

function signedIn(user: User): SessionState {
  return { ...NOTHING, status: "signedIn", user };
}
