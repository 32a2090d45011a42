// A service behind the gateway. Below /app/ it serves pages with the client, elsewhere it says what it received. Asked directly, it is
// another origin than the gateway's. Prints its address.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";

const dist = new URL("../../dist/", import.meta.url);
const page = `<!doctype html><title>A page</title><script type="module">
  Object.assign(window, await import("/app/dist/index.js"));
  document.documentElement.dataset.isReady = "yes";
</script>`;
const reactPage = `<!doctype html><title>A page of React</title><body><script type="module" src="/app/react.js"></script>`;
const worker = `import { createClient } from "/app/dist/index.js";
self.onmessage = async ({ data, ports: [answer] }) => {
  const client = createClient({ baseUrl: data.gateway });
  await client.auth.login(data.credentials);
  const { user } = await client.auth.profile();
  answer.postMessage(user.email);
};`;

function app(path, response) {
  const send = (type, text) => response.writeHead(200, { "content-type": type }).end(text);
  if (path.startsWith("/app/dist/")) send("text/javascript", readFileSync(new URL(path.slice("/app/dist/".length), dist)));
  else if (path === "/app/react.js") send("text/javascript", readFileSync(new URL("../../.cache/react.js", import.meta.url)));
  else if (path === "/app/react") send("text/html", reactPage);
  else if (path === "/app/worker.js") send("text/javascript", worker);
  else send("text/html", page);
}

/** What `/taken` received, a place of another origin to which `/leave` redirects. */
const taken = [];

createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const { method, url, headers } = request;
    if (url.startsWith("/app/")) return app(url, response);
    if (url.endsWith("/leave")) return response.writeHead(307, { location: `${origin}/taken` }).end();
    if (url === "/taken") {
      taken.push({ method, headers });
      // As a hostile server would: it allows every page to send it every header.
      response.setHeader("access-control-allow-origin", headers.origin ?? "*");
      response.setHeader("access-control-allow-headers", "authorization, x-csrf-token, content-type");
      response.setHeader("access-control-allow-credentials", "true");
    }
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify(url === "/taken/list" ? taken : { method, url, headers, body: Buffer.concat(chunks).toString() }));
  });
}).listen(0, "127.0.0.1", function () {
  globalThis.origin = `http://127.0.0.1:${this.address().port}`;
  console.log(globalThis.origin);
});
