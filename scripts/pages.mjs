// Opens each page in a real browser, in light and dark, wide and narrow, with everything unfolded, and prints what is
// wrong with it: a request to another host, a complaint of the browser (its Content-Security-Policy among them), a line
// that has to be scrolled sideways, or what axe finds against WCAG.
import { AxeBuilder } from "@axe-core/playwright";
import { chromium } from "playwright-core";

const [executablePath, ...urls] = process.argv.slice(2);
// Chromium's own sandbox does not run as root.
const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
const browser = await chromium.launch({ executablePath, args });
const wrong = new Set();

async function look(url, colorScheme, width) {
  const context = await browser.newContext({ colorScheme, viewport: { width, height: 800 } });
  const page = await context.newPage();
  const note = (what) => wrong.add(`${url}, ${colorScheme}, ${width} px: ${what}`);
  page.on("console", (message) => note(message.text()));
  page.on("pageerror", (error) => note(error));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) note(`it asks for ${request.url()}`);
  });
  const response = await page.goto(url);
  if (response.status() !== 200) note(`the status is ${response.status()}`);
  await page.evaluate(() => document.querySelectorAll("details").forEach((folded) => (folded.open = true)));
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  if (overflow > 0) note(`it is ${overflow} px too wide`);
  const { passes, violations } = await new AxeBuilder({ page }).analyze();
  if (passes.length === 0) note("axe looked at nothing");
  for (const { id, nodes } of violations) note(`${id}: ${nodes[0].failureSummary} ${nodes[0].html}`);
  await context.close();
}

for (const url of urls)
  for (const colorScheme of ["light", "dark"])
    for (const width of [1280, 320]) await look(url, colorScheme, width);
await browser.close();
for (const line of wrong) console.log(line);
process.exit(wrong.size > 0 ? 1 : 0);
