import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { describe, test } from "vitest";

const CHROMIUM = "/usr/bin/chromium";
/** Nothing that a browser does on its own: no network but the page's, no graphics card. */
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
/** What a browser says of every answer that is a refusal. */
const REFUSED = /^Failed to load resource: the server responded with a status of /;
/** Where pictures for the documentation go, if they are wanted. */
const PICTURES = process.env["DROVER_PICTURES"];

/** Tests that look at pages; skipped with the reason on a machine without a browser. */
export function describeInBrowser(name: string, tests: () => void): void {
  if (existsSync(CHROMIUM)) describe(name, tests);
  else test(name, (context) => context.skip(`${CHROMIUM} is not installed (Debian: apt-get install chromium)`));
}

export async function openBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args: FLAGS, timeout: 30_000 });
}

export interface Visit extends AsyncDisposable {
  readonly page: Page;
  /** What the browser has complained of: errors of scripts, what the policy forbids, what was not found. */
  readonly complaints: string[];
}

/** A visitor with a browser profile of its own. */
export async function visit(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Visit> {
  const context = await browser.newContext({ baseURL: url, locale: "en-GB", timezoneId: "UTC", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const complaints: string[] = [];
  page.on("pageerror", (error) => void complaints.push(`error: ${error.message}`));
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type()) || REFUSED.test(message.text())) return;
    complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on("response", (response) => {
    const { pathname } = new URL(response.url());
    const isOurs = pathname.startsWith("/v1/") || pathname === "/login"; // may refuse what a visitor asks
    if (response.status() >= 400 && !isOurs) complaints.push(`${response.status()} ${pathname}`);
  });
  return { page, complaints, [Symbol.asyncDispose]: () => context.close() };
}

/** A picture of what is seen, where pictures are wanted. */
export async function picture(page: Page, name: string): Promise<void> {
  if (PICTURES === undefined) return;
  await mkdir(PICTURES, { recursive: true });
  await writeFile(join(PICTURES, `${name}.png`), await page.screenshot({ animations: "disabled" }));
}
