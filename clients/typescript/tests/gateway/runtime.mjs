// A session in whatever runs this file: node, deno or bun. Takes the gateway's address.
import { createClient } from "../../dist/index.js";

const [gateway] = (globalThis.Deno?.args ?? globalThis.process.argv.slice(2));
const password = "correct horse battery staple";

for (const transport of ["token", "cookie"]) {
  const client = createClient({ baseUrl: gateway, transport });
  const username = `u${crypto.randomUUID().replaceAll("-", "").slice(0, 12)}`;
  const email = `${username}@example.com`;
  await client.auth.register({ email, username, firstName: "Ada", lastName: "L", password, confirmPassword: password });
  const { user } = await client.auth.profile();
  if (user.email !== email) throw new Error(`the profile is that of ${user.email}`);
  if (!(await client.auth.refresh())) throw new Error("the session is gone after a refresh");
  const written = await client.request("/api/v1/projects", { method: "POST", body: () => new Blob(["a stream"]).stream() });
  const { body, headers } = await written.json();
  if (body !== "a stream" || headers.authorization) throw new Error(`the service received ${body}`);
  const left = await client.request("/api/v1/projects/leave", { method: "POST", json: 1 });
  const { headers: taken } = await left.json();
  if (taken.authorization || taken["x-csrf-token"] || taken.cookie) throw new Error("a redirect took a credential away");
  await client.auth.logout();
  const error = await client.auth.profile().catch((error) => error);
  if (error.name !== "PortcullisError" || error.status !== 401) throw error;
}
console.log("ok");
