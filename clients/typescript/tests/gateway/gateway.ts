import { randomBytes } from "node:crypto";

/** The address of the real gateway that `scripts/client.sh` starts. */
export const GATEWAY = process.env["GATEWAY"] ?? missing("GATEWAY");
/** One whose access tokens live for a second. */
export const SHORT_LIVED = process.env["SHORT_LIVED"] ?? missing("SHORT_LIVED");
/** The service behind them. Asked directly, it is another origin, which they allow. */
export const UPSTREAM = process.env["UPSTREAM"] ?? missing("UPSTREAM");

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
