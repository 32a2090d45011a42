import { defineConfig } from "vitest/config";

export default defineConfig({
  // A hint to run one suite: `vitest run tests/units`. None waits for time, so the limit is only for what hangs.
  test: { include: ["tests/**/*.test.{ts,tsx}"], testTimeout: 180_000, hookTimeout: 180_000, unstubGlobals: true },
});
