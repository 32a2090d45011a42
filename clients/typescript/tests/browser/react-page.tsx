// The page of react.test.ts: the same tree in the browser and, for hydration, on a server.
import { StrictMode } from "react";
import type { PortcullisClient, User } from "../../src/index.js";
import { PortcullisProvider, RequireAuth, useCsrf, usePermission, useSession, useUser } from "../../src/react.js";

function Name() {
  return <p id="name">{useUser()?.email}</p>;
}

function Details() {
  const { status } = useSession();
  const csrf = useCsrf();
  const mayView = usePermission("USER_VIEW");
  return (
    <p id="details" data-status={status} data-csrf={csrf ?? ""}>
      {mayView ? "may view users" : "may not view users"}
    </p>
  );
}

export function App({ client, initialUser }: { client: PortcullisClient; initialUser?: User | null }) {
  return (
    <StrictMode>
      <PortcullisProvider client={client} initialUser={initialUser}>
        <RequireAuth loading={<p id="loading">loading</p>} fallback={<p id="sign-in">sign in</p>}>
          <Name />
          <Name />
        </RequireAuth>
        <Details />
      </PortcullisProvider>
    </StrictMode>
  );
}
