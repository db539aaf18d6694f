import { setTimeout as delay } from "node:timers/promises";
import { test } from "vitest";
import { isAlive } from "../../src/runtime/process-identity.ts";
import { startDrover } from "../helpers/drover.ts";
import { machineOf } from "../helpers/machine-of.ts";
import { startWorkerProcess } from "../helpers/worker-process.ts";

const TIMING = { DROVER_LEASE: "1500ms", DROVER_LEASE_RENEW: "300ms", DROVER_HOST_LOST_AFTER: "5s", DROVER_RECONCILE_INTERVAL: "500ms", DROVER_HOST_LOST: "rerun" };
test("T6 drain", async () => {
  await using host = await startDrover({ rom: "idle", worker: false, env: TIMING });
  await using worker = await startWorkerProcess({ ...host.env, ...TIMING }, { flags: ["--drain"] });
  const vmId = await host.submit({});
  await host.until(vmId, "running");
  const machine = machineOf(vmId);
  worker.signal("SIGTERM");
  for (let i = 0; i < 10; i++) { await delay(5000); const vm = await host.get(vmId); console.log(`T6: ${5 * (i + 1)} s of drain, alive ${isAlive(machine)} ${vm.state} ${vm.hostStatus} ${vm.epoch}`); }
}, 100_000);
