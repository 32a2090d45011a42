"use client";

import { createContext, type ReactNode, useContext, useEffect, useState, useSyncExternalStore } from "react";
import type { PortcullisClient, User } from "./index.js";
import { type SessionState, type SessionStore, sessionStore } from "./sessionstore.js";

export type { SessionState } from "./sessionstore.js";

const Context = createContext<SessionStore | null>(null);

export interface ProviderProps {
  client: PortcullisClient;
  /** The user for whom a server has rendered the page, or `null` for a visitor; without it the page asks the gateway. */
  initialUser?: User | null;
  children?: ReactNode;
}

/** Gives the session of a client to the hooks below. */
export function PortcullisProvider({ client, initialUser, children }: ProviderProps): ReactNode {
  const store = sessionStore(client, initialUser);
  // So that the store listens while the provider is there, whichever hooks come and go.
  useEffect(() => store.subscribe(() => undefined), [store]);
  return <Context.Provider value={store}>{children}</Context.Provider>;
}

/** The session: its status, its user, and `reload`, which asks the gateway again, for instance after `updateProfile`. */
export function useSession(): SessionState & { client: PortcullisClient; reload: () => Promise<void> } {
  const { subscribe, current, initial, client, reload } = useStore();
  const state = useSyncExternalStore(subscribe, current, () => initial);
  return { ...state, client, reload };
}

/** The user who is signed in, else `null`. */
export function useUser(): User | null {
  return useSession().user;
}

/**
 * The CSRF token, for a form that the browser sends by itself (a hidden field `_csrf`); `null` until it is there. Requests of the client need
 * no such help.
 */
export function useCsrf(): string | null {
  const { client, status } = useSession();
  const [token, setToken] = useState<string | null>(null);
  useEffect(() => {
    let isCurrent = true;
    // After a sign-in or a sign-out by cookie there is another one.
    client.csrfToken().then(
      (token) => isCurrent && setToken(token),
      () => isCurrent && setToken(null),
    );
    return () => {
      isCurrent = false;
    };
  }, [client, status]);
  return token;
}

/**
 * Whether the user has a permission; `false` until that is known. The gateway tells the permissions of a user to those with USER_VIEW; for all
 * others it is `false`. It only decides what a page shows: the gateway checks each request.
 */
export function usePermission(name: string): boolean {
  const { loadPermissions } = useStore();
  const { user, permissions } = useSession();
  useEffect(() => {
    if (user) void loadPermissions(user.id);
  }, [loadPermissions, user]);
  return permissions?.includes(name) ?? false;
}

export interface RequireAuthProps {
  children?: ReactNode;
  /** Shown to those who are not signed in, for instance a sign-in page. */
  fallback?: ReactNode;
  /** Shown until the gateway has said who it is. */
  loading?: ReactNode;
}

/** Shows its children to users who are signed in. */
export function RequireAuth({ children, fallback = null, loading = null }: RequireAuthProps): ReactNode {
  const { status } = useSession();
  if (status === "signedIn") return children;
  return status === "loading" ? loading : fallback;
}

function useStore(): SessionStore {
  const store = useContext(Context);
  if (!store) throw new Error("This hook needs a <PortcullisProvider> around it");
  return store;
}
