// The application of the matrix on Node's own http module.
//
//   node node.mjs PORT IDLE_SECONDS
import { createHash } from "node:crypto";
import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { attachEcho, block, sleep } from "./shared.mjs";

const [port, idle] = process.argv.slice(2).map(Number);
const file = `${process.env.MATRIX_FILES}/file.bin`;

async function inspect(request, response, query) {
  const pause = Number(query.get("pause") ?? 0);
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
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify({ method: request.method, headers, bytes, sha256: hash.digest("hex") }));
}

async function hold(request, response, query) {
  for await (const _ of request);
  await sleep(Number(query.get("ms")));
  response.end("held\n");
}

async function events(request, response, query) {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  for (let n = 0; !response.destroyed; n++) {
    response.write(`data: ${n}\n\n`);
    await sleep(Number(query.get("gap")));
  }
}

// Node has no file server: one range at most, an entity tag, as a careful author would write it.
function sendFile(request, response) {
  const { size, mtimeMs } = statSync(file);
  const tag = `"${size.toString(16)}-${Math.trunc(mtimeMs).toString(16)}"`;
  const headers = { ETag: tag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream" };
  if (request.headers["if-none-match"] === tag) return response.writeHead(304, headers).end();
  const range = /^bytes=(\d*)-(\d*)$/.exec(request.headers.range ?? "");
  const fresh = !request.headers["if-range"] || request.headers["if-range"] === tag;
  if (!range || !fresh || (!range[1] && !range[2])) {
    response.writeHead(200, { ...headers, "Content-Length": size });
    return request.method === "HEAD" ? response.end() : createReadStream(file).pipe(response);
  }
  const start = range[1] ? Number(range[1]) : Math.max(0, size - Number(range[2]));
  const end = range[1] && range[2] ? Math.min(Number(range[2]), size - 1) : size - 1;
  if (start > end) return response.writeHead(416, { "Content-Range": `bytes */${size}` }).end();
  response.writeHead(206, { ...headers, "Content-Range": `bytes ${start}-${end}/${size}`, "Content-Length": end - start + 1 });
  return request.method === "HEAD" ? response.end() : createReadStream(file, { start, end }).pipe(response);
}

async function download(request, response, query) {
  const bytes = Number(query.get("bytes"));
  if (query.get("length")) response.setHeader("Content-Length", bytes);
  for (let left = bytes; left > 0 && !response.destroyed; left -= block.length) {
    const taken = response.write(block.subarray(0, Math.min(left, block.length)));
    if (!taken) await Promise.race([once(response, "drain"), once(response, "close")]);
  }
  response.end();
}

const once = (emitter, event) => new Promise((resolve) => emitter.once(event, resolve));

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, "http://localhost");
  const answer = { "/inspect": inspect, "/hold": hold, "/events": events, "/file": sendFile, "/download": download }[pathname];
  // A client that goes away in the middle of its body is no reason to end the process.
  if (answer) return Promise.resolve(answer(request, response, searchParams)).catch(() => response.destroy());
  if (pathname === "/hello") return response.end("hello\n");
  if (pathname.startsWith("/status/")) return response.writeHead(Number(pathname.slice(8))).end();
  return response.writeHead(404).end();
});
server.keepAliveTimeout = idle * 1000;
attachEcho(server);
server.listen(port, "127.0.0.1");
