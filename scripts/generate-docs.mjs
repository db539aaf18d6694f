#!/usr/bin/env node
// `npm run docs`: writes the pages of docs/ that are made from the code. Tests compare them with what is committed.
import { writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { buildDist } from "./build.mjs";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
await buildDist(root);
const { renderConfigReference } = await import("../dist/runtime/config/config-reference.js");
const { renderEventReference } = await import("../dist/contract/event-reference.js");
const { renderCauseReference } = await import("../dist/contract/cause-reference.js");
const { renderTroubleshooting } = await import("../dist/contract/trouble-reference.js");
const { renderMetricReference } = await import("../dist/runtime/metrics/metric-reference.js");

const pages = {
  "configuration.md": renderConfigReference(),
  "events.md": renderEventReference(),
  "causes.md": renderCauseReference(),
  "troubleshooting.md": renderTroubleshooting(),
  "metrics.md": renderMetricReference(),
};
for (const [name, text] of Object.entries(pages)) await writeFile(join(root, "docs", name), text);
console.log(`written: ${Object.keys(pages).join(", ")}`);
