/**
 * The gateway's cookies where `fetch` keeps none (Node, Deno, Bun). A browser hides `Set-Cookie` and ignores a `Cookie` header, so
 * that this stays empty there. `initial` is a `Cookie` header, for instance that of the request for which a page is rendered.
 */
export function cookieJar(initial: string | null) {
  const values = new Map<string, string>();
  const keep = (line: string) => {
    const [, name, value, attributes] = /^\s*([^=;\s]+)=([^;]*)(.*)/.exec(line) ?? [];
    // Of the two ways to remove a cookie only Max-Age: the clock may be wrong.
    if (/;\s*max-age=[0-]/i.test(attributes ?? "")) values.delete(name!);
    else if (name) values.set(name, value!);
  };
  initial?.split(";").forEach(keep);

  return {
    keep: (headers: Headers) => headers.getSetCookie?.().forEach(keep),
    addTo: (headers: Headers) => {
      if (values.size) headers.set("cookie", [...values].map((pair) => pair.join("=")).join("; "));
    },
  };
}

export type Cookies = ReturnType<typeof cookieJar>;
