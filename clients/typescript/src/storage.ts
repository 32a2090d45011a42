/** Where tokens are kept: `localStorage`, `sessionStorage`, or anything of that form, also with promises. */
export interface TokenStorage {
  getItem(key: string): string | null | Promise<string | null>;
  setItem(key: string, value: string): void | Promise<void>;
  removeItem(key: string): void | Promise<void>;
}

/** The tokens of a session. */
export interface StoredTokens {
  accessToken: string;
  refreshToken: string;
}

/**
 * Tokens in a storage. A storage that refuses (blocked, full, or absent) is replaced by memory, so that a page works until it is
 * closed. Content that is not ours, or of a version that we do not know, counts as no tokens.
 */
export function tokenStore(key: string, given: TokenStorage | undefined) {
  let storage = given ?? defaultStorage();
  let memory: string | null = null;
  const use = async <T>(action: (storage: TokenStorage) => T | Promise<T>): Promise<T | undefined> => {
    const used = storage;
    try {
      return used && (await action(used));
    } catch {
      storage = undefined;
      // What is left there would be a spent refresh token.
      await Promise.resolve(used)
        .then((spent) => spent?.removeItem(key))
        .catch(() => undefined);
    }
  };

  return {
    read: async (): Promise<StoredTokens | null> => {
      const stored = await use((storage) => storage.getItem(key));
      return parse(storage ? stored : memory);
    },
    write: async ({ accessToken, refreshToken }: StoredTokens): Promise<void> => {
      const text = (memory = JSON.stringify({ accessToken, refreshToken }));
      await use((storage) => storage.setItem(key, text));
    },
    clear: async (): Promise<void> => {
      memory = null;
      await use((storage) => storage.removeItem(key));
    },
  };
}

export type TokenStore = ReturnType<typeof tokenStore>;

function defaultStorage(): TokenStorage | undefined {
  try {
    // Node has one that wants a file; a server must not share it between its users in any case.
    return typeof document === "undefined" ? undefined : globalThis.localStorage;
  } catch {
    return undefined;
  }
}

function parse(text: string | null | undefined): StoredTokens | null {
  try {
    const { accessToken, refreshToken } = JSON.parse(text!) as Partial<StoredTokens>;
    return typeof accessToken === "string" && typeof refreshToken === "string" ? { accessToken, refreshToken } : null;
  } catch {
    return null; // Absent, or not JSON of an object.
  }
}
