import { test } from "vitest";
import fc from "fast-check";
import { histories } from "./commands.ts";
import { openModel, runHistory } from "./run-history.ts";

test("dev", { timeout: 600_000 }, async () => {
  const n = Number(process.env["N"] ?? 20);
  const base = Number(process.env["SEED"] ?? 1);
  const model = openModel();
  const lines: string[] = [];
  const t0 = process.hrtime.bigint();
  let steps = 0, virt = 0, fails = 0;
  try {
    for (let i = 0; i < n; i++) {
      const [h] = fc.sample(fc.noBias(histories), { seed: base + i, numRuns: 1 });
      let story: string[] = [];
      try {
        const told = await runHistory(h!, process.env["TELL"] ? (s) => { story = s; } : undefined);
        steps += told.steps; virt += told.virtualMs;
      } catch (e) {
        fails++;
        lines.push(`seed ${base + i}: ${(e as Error).message.slice(0, 600)}`);
        if (process.env["TELL"]) lines.push(JSON.stringify(h), ...story, (e as Error).stack ?? "");
      }
    }
  } finally { model.close(); }
  const ms = Number(process.hrtime.bigint() - t0) / 1e6;
  process.stdout.write(lines.join("\n") + `\n${n} histories, ${fails} fail, ${(ms / n).toFixed(1)} ms each, steps ${(steps / n).toFixed(0)}, virtual ${(virt / n / 1000).toFixed(1)} s\n`);
});
