import { rename, writeFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { pino } from "pino";
import { bootId } from "../../../src/runtime/process-identity.ts";
import { GuardLink } from "../../../src/worker/guard/guard-link.ts";

/** A worker as its guard sees it: it refreshes the deadline until it is killed, and notes how often it has. */
const [, , stateDir = "", stateId = "", inMs = "", note = ""] = process.argv;
const link = await GuardLink.open({ stateDir, stateId, bootId: bootId(), logger: pino({ level: "silent" }) });
let lates = 0;
for (let refreshes = 1; ; refreshes++) {
  const { late } = await link.refresh(Number(inMs));
  if (late) lates += 1;
  await writeFile(`${note}.new`, JSON.stringify({ refreshes, lates }));
  await rename(`${note}.new`, note);
  await delay(50);
}
