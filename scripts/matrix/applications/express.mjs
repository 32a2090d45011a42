// The application of the matrix on Express 4 or 5, with the middleware that lets a header override the method.
//
//   node express.mjs PORT IDLE_SECONDS express4|express5
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { createServer } from "node:http";
import methodOverride from "method-override";
import { attachEcho, block, sleep } from "./shared.mjs";

const [port, idle, version] = process.argv.slice(2);
const { default: express } = await import(version);
const app = express();
for (const header of ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"]) {
  app.use(methodOverride(header, { methods: null }));
}

// Express 4 does not see the rejection of a promise, and a client may go away in the middle of its body.
const caught = (answer) => (request, response) => answer(request, response).catch(() => response.destroy());

app.get("/hello", (_, response) => response.send("hello\n"));
app.all("/inspect", caught(async (request, response) => {
  const pause = Number(request.query.pause ?? 0);
  const hash = createHash("sha256");
  let bytes = 0;
  let rested = 0;
  for await (const piece of request) {
    hash.update(piece);
    bytes += piece.length;
    for (; pause && bytes - rested >= 65536; rested += 65536) await sleep(pause);
  }
  const headers = [];
  for (let i = 0; i < request.rawHeaders.length; i += 2) headers.push(request.rawHeaders.slice(i, i + 2));
  response.json({ method: request.method, headers, bytes, sha256: hash.digest("hex") });
}));
app.all("/hold", caught(async (request, response) => {
  for await (const _ of request);
  await sleep(Number(request.query.ms));
  response.send("held\n");
}));
app.get("/events", async (request, response) => {
  response.set({ "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  for (let n = 0; !response.destroyed; n++) {
    response.write(`data: ${n}\n\n`);
    await sleep(Number(request.query.gap));
  }
});
app.get("/file", (_, response) => response.sendFile("file.bin", { root: process.env.MATRIX_FILES }));
app.get("/status/:code", (request, response) => response.status(Number(request.params.code)).end());
app.get("/download", (request, response) => {
  const bytes = Number(request.query.bytes);
  if (request.query.length) response.set("Content-Length", String(bytes));
  function* pieces() {
    for (let left = bytes; left > 0; left -= block.length) yield block.subarray(0, Math.min(left, block.length));
  }
  Readable.from(pieces()).on("error", () => {}).pipe(response);
});

const server = createServer(app);
server.keepAliveTimeout = Number(idle) * 1000;
attachEcho(server);
server.listen(Number(port), "127.0.0.1");
