import { expect, test } from "vitest";
import { createClient } from "../../src/index.js";
import { storageWith } from "../units/server.js";
import { GATEWAY, newUser, PASSWORD } from "./gateway.js";

const transports = ["token", "cookie"] as const;

test.each(transports)("a session by %s begins, lasts and ends", async (transport) => {
  const client = createClient({ baseUrl: GATEWAY, transport });
  const events: string[] = [];
  for (const type of ["signedIn", "signedOut", "refreshed", "expired"] as const) client.on(type, () => events.push(type));
  const user = newUser();
  expect(await client.auth.register(user)).toMatchObject({ user: { email: user.email, username: user.username } });
  expect((await client.auth.profile()).user.firstName).toBe("Ada");
  expect((await client.auth.updateProfile({ firstName: "Augusta" })).user.firstName).toBe("Augusta");
  expect(await client.auth.refresh()).toBe(true);
  expect((await client.auth.sessions()).sessions.filter(({ current }) => current)).toHaveLength(1);
  await client.auth.logout();
  expect(await client.signedIn()).toBe(false);
  await expect(client.auth.profile()).rejects.toMatchObject({ status: 401, code: "auth.token_required" });
  await client.auth.login({ email: user.email, password: PASSWORD });
  expect((await client.auth.profile()).user.firstName).toBe("Augusta");
  await client.auth.changePassword({ currentPassword: PASSWORD, newPassword: `${PASSWORD}!`, confirmPassword: `${PASSWORD}!` });
  expect((await client.auth.profile()).user.email).toBe(user.email);
  expect(events).toEqual(["signedIn", "refreshed", "signedOut", "signedIn"]);
});

test.each(transports)("a sign-up by %s leaves one session", async (transport) => {
  const client = createClient({ baseUrl: GATEWAY, transport });
  await client.auth.register(newUser());
  expect((await client.auth.sessions()).sessions).toHaveLength(1);
});

test("a wrong password is an error that says so", async () => {
  const client = createClient({ baseUrl: GATEWAY });
  await expect(client.auth.login({ email: "nobody@example.com", password: "x" })).rejects.toMatchObject({
    name: "PortcullisError",
    status: 401,
    code: "auth.invalid_credentials",
    error: "Invalid credentials",
    requestId: /./,
  });
});

test("what is wrong with a field is in details", async () => {
  const client = createClient({ baseUrl: GATEWAY });
  const refused = client.auth.register({ ...newUser(), username: "!" });
  await expect(refused).rejects.toMatchObject({ code: "request.validation_failed", details: { body: [/username/i] } });
});

test("an access token that the gateway refuses is refreshed", async () => {
  const storage = storageWith("nobody");
  const client = createClient({ baseUrl: GATEWAY, storage });
  await client.auth.register(newUser());
  const key = [...storage.items.keys()].find((key) => key.includes(new URL(GATEWAY).host))!;
  const before = JSON.parse(storage.items.get(key)!) as { refreshToken: string };
  storage.setItem(key, JSON.stringify({ ...before, accessToken: "expired" }));
  expect((await client.auth.profile()).user.firstName).toBe("Ada");
  expect(JSON.parse(storage.items.get(key)!)).not.toMatchObject({ refreshToken: before.refreshToken });
});

test.each(transports)("by %s, a session that ended elsewhere is expired", async (transport) => {
  const client = createClient({ baseUrl: GATEWAY, transport });
  const expired = new Promise((resolve) => client.on("expired", resolve));
  await client.auth.register(newUser());
  await client.auth.profile();
  const { sessions } = await client.auth.sessions();
  await client.auth.endSession(sessions[0]!.id);
  await expect(client.auth.profile()).rejects.toMatchObject({ status: 401 });
  await expired;
  expect(await client.signedIn()).toBe(false);
});

test("an administrator manages users", async () => {
  const client = createClient({ baseUrl: GATEWAY });
  await client.auth.login({ email: "root@example.com", password: PASSWORD });
  const user = newUser();
  const { email, username, firstName, lastName } = user;
  const { id } = (await client.users.invite({ email, username, firstName, lastName })).user;
  expect((await client.users.list({ search: username })).users.map((found) => found.id)).toEqual([id]);
  expect((await client.users.setRole(id, "MANAGER")).user.role).toBe("MANAGER");
  expect((await client.users.addPermission(id, "GATEWAY_EXPLAIN")).customPermissions).toEqual(["GATEWAY_EXPLAIN"]);
  expect((await client.users.setPermissions(id, [])).customPermissions).toEqual([]);
  expect((await client.users.get(id)).user.allPermissions).toContain("USER_VIEW");
  expect((await client.users.edit(id, { firstName: "Grace" })).user.firstName).toBe("Grace");
  expect((await client.users.rolePermissions("ADMIN")).permissions).toContain("USER_DELETE");
  await client.users.delete(id);
  await expect(client.users.get(id)).rejects.toMatchObject({ status: 404, code: "resource.not_found" });
});

test("an API key is made and revoked", async () => {
  const client = createClient({ baseUrl: GATEWAY });
  await client.auth.login({ email: "root@example.com", password: PASSWORD });
  const { apiKey, secret } = await client.apiKeys.create({ name: "a test" });
  const asKey = createClient({ baseUrl: GATEWAY, headers: { "X-API-Key": secret! } });
  expect((await asKey.auth.profile()).user.email).toBe("root@example.com");
  await client.apiKeys.revoke(apiKey.id);
  await expect(asKey.auth.profile()).rejects.toMatchObject({ status: 401 });
});
