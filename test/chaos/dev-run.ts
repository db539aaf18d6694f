import { writeHistory } from "./history.ts";
import { makePlan } from "./plan.ts";
import { describeViolations, runChaos } from "./run.ts";

const [seed = "1", secs = "10", only = "", policy = ""] = process.argv.slice(2);
const plan = makePlan({
  seed,
  durationMs: Number(secs) * 1000,
  opsPerS: 6,
  faultGapMs: 1500,
  maxVms: 6,
  ...(only ? { only: only.split(",") as never } : {}),
  ...(policy ? { policy: policy.split("+")[0] as never, onPartition: policy.split("+")[1] as never } : {}),
  dataLoss: seed.endsWith("-loss"),
});
const r = await runChaos(plan, { bin: process.env["BIN"], keep: process.env["KEEP"] !== undefined });
console.log(describeViolations(r));
writeHistory("/tmp/ct/last.jsonl", r.history);
console.log(r.history.length, "entries");
setTimeout(() => console.log(process.getActiveResourcesInfo()), 3000).unref();
