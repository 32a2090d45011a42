import { randomBytes } from "node:crypto";

/** The address of the real gateway that `scripts/client.sh` starts. */
export const GATEWAY = process.env["GATEWAY"] ?? missing("GATEWAY");

export const PASSWORD = "correct horse battery staple";

/** The fields of a user whom nobody has registered yet. */
export function newUser() {
  const username = `u${randomBytes(6).toString("hex")}`;
  const names = { firstName: "Ada", lastName: "Lovelace" };
  return { email: `${username}@example.com`, username, ...names, password: PASSWORD, confirmPassword: PASSWORD };
}

function missing(name: string): never {
  throw new Error(`${name} is not set. hint: scripts/client.sh starts a gateway and sets it`);
}
