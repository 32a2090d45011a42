/** Makes the keeper of the CSRF token: fetched when it is first needed, kept in memory only, by one fetch at a time. */
export function csrfKeeper(load: () => Promise<string>) {
  let known: string | undefined;
  let pending: Promise<string> | undefined;
  const forget = () => {
    known = pending = undefined;
  };

  return {
    /** The token if there is one already. */
    known: () => known,
    token: async (): Promise<string> => {
      if (known || pending) return known ?? pending!;
      const loading = (pending = load());
      try {
        const token = await loading;
        if (pending === loading) known = token;
        return token;
      } finally {
        if (pending === loading) pending = undefined;
      }
    },
    /** Forgets a token that the gateway refused, unless it was replaced in the meantime. */
    refused: (token: string | null) => {
      if (known === (token ?? known)) forget();
    },
    /** Forgets the token: after a sign-in or a sign-out by cookie it is bound to the session before. */
    forget,
  };
}

export type Csrf = ReturnType<typeof csrfKeeper>;
