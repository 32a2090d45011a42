import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { createClient } from "../../src/index.js";
import { storageWith } from "../units/server.js";
import { GATEWAY, newUser, PASSWORD } from "./gateway.js";

interface Echo {
  method: string;
  headers: Record<string, string>;
  body: string;
}

test.each(["token", "cookie"] as const)("by %s, a service receives what is written, and no credential", async (transport) => {
  const client = createClient({ baseUrl: GATEWAY, transport });
  await client.auth.register(newUser());
  const response = await client.request("/api/v1/projects/7", { method: "PUT", json: { name: "x" } });
  const { method, headers, body } = (await response.json()) as Echo;
  expect([method, body]).toEqual(["PUT", '{"name":"x"}']);
  expect(Object.keys(headers)).not.toContain("authorization");
});

test("a body is sent again after a refresh, a stream by its function", async () => {
  const storage = storageWith("nobody");
  const client = createClient({ baseUrl: GATEWAY, storage });
  await client.auth.register(newUser());
  const key = [...storage.items.keys()].at(-1)!;
  for (const body of ["text", () => new Blob(["stream"]).stream()]) {
    storage.setItem(key, JSON.stringify({ ...JSON.parse(storage.items.get(key)!), accessToken: "expired" }));
    const response = await client.request("/api/v1/projects", { method: "POST", body });
    expect(((await response.json()) as Echo).body).toBe(typeof body === "string" ? "text" : "stream");
  }
});

test("clients that share a storage rotate once", async () => {
  const storage = storageWith("nobody");
  const first = createClient({ baseUrl: GATEWAY, storage });
  await first.auth.register(newUser());
  const key = [...storage.items.keys()].at(-1)!;
  const old = JSON.parse(storage.items.get(key)!) as { refreshToken: string };
  storage.setItem(key, JSON.stringify({ ...old, accessToken: "expired" }));
  const refreshTokens = new Set<string>();
  const tabs = Array.from({ length: 10 }, () =>
    createClient({
      baseUrl: GATEWAY,
      storage,
      fetch: async (input, init) => {
        const response = await fetch(input, init);
        if (String(input).endsWith("/refresh")) {
          const { data } = (await response.clone().json()) as { data: { tokens: { refreshToken: string } } };
          refreshTokens.add(data.tokens.refreshToken);
        }
        return response;
      },
    }),
  );
  const profiles = await Promise.all(tabs.map((tab) => tab.auth.profile()));
  expect(profiles.map(({ user }) => user.firstName)).toEqual(Array(10).fill("Ada"));
  expect(refreshTokens.size).toBe(1);
  expect(refreshTokens).not.toContain(old.refreshToken);
});

test("the three lines of the README work as they stand", async () => {
  const user = newUser();
  await createClient({ baseUrl: GATEWAY }).auth.register(user);
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const block = /```js\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";
  expect(block).toContain("http://localhost:8000");
  const program = block
    .replace("http://localhost:8000", GATEWAY)
    .replace("ada@example.com", user.email)
    .replace("correct horse battery staple", PASSWORD);
  const folder = new URL("../../.cache/", import.meta.url);
  mkdirSync(folder, { recursive: true });
  // Inside the package, so that its name leads to what was built.
  const file = new URL("readme.mjs", folder);
  writeFileSync(file, `${program}\nconsole.log(projects.method, projects.url);`);
  const { stdout } = await promisify(execFile)(process.execPath, [file.pathname]);
  expect(stdout).toBe("GET /api/v1/projects\n");
});
