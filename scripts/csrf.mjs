// The Express service that Portcullis replaces, as far as CSRF goes: csrf-csrf with its defaults, the gateway's secret,
// the gateway's cookie, and as session identifier the random id of the gateway's pre-session cookie.
import cookieParser from "cookie-parser";
import { doubleCsrf } from "csrf-csrf";
import express from "express";

const { generateCsrfToken, doubleCsrfProtection } = doubleCsrf({
  getSecret: () => process.env.CSRF_SECRET,
  getSessionIdentifier: (request) => request.cookies["portcullis-pre"] ?? "",
  cookieName: "portcullis-csrf",
  cookieOptions: { secure: false, sameSite: "lax" },
});

const app = express();
app.use(cookieParser());
app.get("/token", (request, response) => response.send(generateCsrfToken(request, response, { overwrite: true })));
app.post("/submit", doubleCsrfProtection, (_, response) => response.send("done"));
app.use((error, _request, response, _next) => response.status(error.status ?? 500).send(error.message));
const listening = app.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${listening.address().port}`));
