#!/usr/bin/env node
// `npm run audit`: asks the registry for known vulnerabilities of what drover loads at run time. Ends with 1 when there
// are some, and with 2 when the registry cannot be asked: no answer is not a clean bill.
import { spawnSync } from "node:child_process";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..");

const { stdout, error } = spawnSync("npm", ["audit", "--omit=dev", "--json"], { cwd: ROOT, encoding: "utf8" });
const answer = error === undefined ? readAnswer(stdout) : { message: `npm could not be started: ${error.message}` };
if (answer.vulnerabilities === undefined) {
  console.error(`not audited: ${answer.message ?? answer.error?.summary ?? "npm gave no answer that can be read"}`);
  console.error("Name a registry that answers audits, for example: npm_config_registry=https://… npm run audit");
  process.exitCode = 2;
} else {
  const found = Object.values(answer.vulnerabilities);
  for (const { name, severity, range, via } of found) {
    console.log(`${severity}: ${name} ${range}`);
    for (const { title, url } of via.filter((one) => typeof one === "object")) console.log(`  ${title} ${url}`);
  }
  const asked = answer.metadata?.dependencies?.prod ?? "all";
  console.log(`${found.length} of ${asked} packages have known vulnerabilities`);
  process.exitCode = found.length === 0 ? 0 : 1;
}

/**
 * @typedef {{ name: string, severity: string, range: string, via: ({ title: string, url: string } | string)[] }} Finding
 * @param {string} text
 * @returns {{
 *   message?: string,
 *   error?: { summary?: string },
 *   vulnerabilities?: Record<string, Finding>,
 *   metadata?: { dependencies?: { prod?: number } },
 * }}
 */
function readAnswer(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
