/**
 * Every failure of the client, except an abort: that rejects with the reason of the caller's signal, as `fetch` does.
 *
 * `code` is the stable name to compare. The gateway's codes are listed in its documentation. Those of the client itself:
 *
 * - `client.network`: no response, or one that broke off;
 * - `client.timeout`: no complete response within `timeout`;
 * - `client.unexpected_response`: a response that is neither the gateway's nor JSON, for instance the HTML page of a proxy;
 * - `client.error_response`: an error of a service behind the gateway; `details` holds its JSON;
 * - `client.body_not_repeatable`: the request must be sent again, and its body is a stream that was read already;
 * - `client.redirected`: a redirect that cannot be followed without showing it the credentials.
 */
export class PortcullisError extends Error {
  /** The HTTP status; 0 if there is no response. */
  declare readonly status: number;
  declare readonly code: string;
  /** A short fixed text, such as `Invalid credentials`. */
  declare readonly error: string;
  /** For `Validation failed`: the problems of `body`, `query` or `path`, a sentence each. */
  declare readonly details: unknown;
  /** Names the request in the gateway's logs. */
  declare readonly requestId: string | undefined;

  constructor(
    fields: Pick<PortcullisError, "status" | "code" | "error" | "message"> &
      Partial<Pick<PortcullisError, "details" | "requestId" | "cause">>,
  ) {
    super(fields.message);
    Object.assign(this, { name: "PortcullisError" }, fields);
  }
}

/** An error that the client itself finds. */
export function clientError(code: string, message: string, cause?: unknown, status = 0): PortcullisError {
  return new PortcullisError({ status, code: `client.${code}`, error: "Client error", message, cause });
}

/** The fields of a JSON object; none for everything else. */
export function fieldsOf(value: unknown): Record<string, unknown> {
  return Object(value) as Record<string, unknown>;
}

/** The JSON of a response, or `undefined` if it has none. Rejects if the body breaks off. */
export async function jsonOf(response: Response): Promise<unknown> {
  const text = await response.text();
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** The error that a response with this JSON is: the gateway's envelope, RFC 9457, or something else. */
export function errorOf({ status, headers, ok }: Response, json: unknown): PortcullisError {
  const fields = fieldsOf(json);
  const text = (...names: string[]) => names.map((name) => fields[name]).find((value) => typeof value === "string") as string;
  const isOfService = !ok && json !== undefined;
  const code = text("code") ?? (isOfService ? "client.error_response" : "client.unexpected_response");
  const error = text("error", "title") ?? `HTTP ${status}`;
  return new PortcullisError({
    status,
    code,
    error,
    message:
      text("message", "detail") ??
      (isOfService ? error : `Not of the gateway: ${status}, ${headers.get("content-type")}. hint: is baseUrl right?`),
    // Of an error that is not the gateway's, all of it.
    details: text("code") ? fields["details"] : json,
    requestId: text("requestId") ?? headers.get("x-request-id") ?? undefined,
  });
}
