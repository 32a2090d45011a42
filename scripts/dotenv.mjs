// Writes what the npm package dotenv reads from texts that are difficult to read: the table of the test of our own parser.
import { createRequire } from "node:module";

const { parse } = createRequire(import.meta.url)("dotenv");

const pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----";
const texts = [
  "A=1", "A = 1", "  A=1  ", "A=", "A= ", "A=\nB=2", "export A=1", "export\tA=1", "export A", "export=1", "export = 1", "exportA=1",
  "A=1\r\nB=2\r\n", "A=1\rB=2", "\ufeffA=1\nB=2", "\ufeff\nA=1", "\ufeff# c\nA=1",
  "# c", "#A=1", "  # c\nA=1", "A=1 # c", "A=1\t# c", "A=1#c", "A=# c", "A= # c\nB=2", "A=\t# c", "A=#c\nB=2",
  "A='x'", "A=\"x\"", "A=`x`", "A='x # y'", "A=\"x # y\" # z", "A=`x # y`# z", "A=' x '", "A= ' x ' ", "A=''", "A=\"\"", "A=``",
  "A='it\"s'", "A=\"it's\"", "A=`it's \"so\"`", "A='a'b'", "A='a' b", "A=\"a\" b # c", "A=a'b'", "A=a\"b\"c", "A='a\"", "A='", "A=\"",
  "A=\"a\\nb\"", "A='a\\nb'", "A=`a\\nb`", "A=a\\nb", "A=\"a\\rb\"", "A=\"a\\tb\"", "A=\"a\\\\nb\"", "A=\"a\\\"b\"", "A='a\\'b'",
  "A='C:\\'", "A=\"C:\\\\\"", "A='a\\'b' c'", "A='a\\'\nB='b'",
  `A="${pem}"\nB=2`, `A='${pem}'\nB=2`, `A=\`${pem}\`\nB=2`, `A="${pem.replaceAll("\n", "\r\n")}"`, `A="${pem.replaceAll("\n", "\\n")}"`,
  "A='open\nB='x'", "A=\"open\nB=2", "A=\"one\ntwo\" # c\nB=2", "A=\"one\n# two\n\"\nB=2", "A=\"x\ny\" z\nB=2",
  "A.B=1", "A-B=1", "a.b.c=1\nA_1=2", "A B=1", "A/B=1", "=1", "1A=1", "ä=1", "A+=1", "A=1=2", "A==", "A: 1", "A:1", "A : 1", "A:\nB=1", "A: # c",
  "nonsense\nA=1", "[section]\nA=1", "A\nB=1", "A\n=1", "if x; then\nA=1\nfi", "{\"A\": 1}", "- A=1", "source x\nA=1", "set -a\nA=1",
  "A=1\nA=2", "A=1\nA=", "A=$B\nB=${A}", "A=\nB='x'", "A=\n'x'", "\n\n  A=1\n\n", "A=x y z", "A=x;y", "A=\u00a0x\u00a0", "A=ü 🦊",
  "DATABASE_URL=postgres://a:b@c:5432/d?schema=auth&x=y", "URL=http://x/#frag", "URL=\"http://x/#frag\"", "A=1 \\\n2",
];
console.log("[");
const ascii = (json) => json.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
console.log(texts.map((text) => ascii(JSON.stringify({ text, parsed: parse(text) }))).join(",\n"));
console.log("]");
