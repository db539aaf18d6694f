/**
 * What a fleet costs beside the bare machine: dispatch of short VMs, many live VMs, a worker whose VMs do nothing. Each
 * figure stands beside a floor of the same run.
 *
 *     npm run bench:fleet -- [--only dispatch,live,idle] [--vms 10000] [--workers 20] [--slots 4]
 *                            [--live 1000] [--hosts 100] [--idle 100] [--seconds 60] [--json FILE]
 *
 * Needs a C compiler (`apt-get install gcc`): the short QEMU and the empty machine are programs of their own.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { type Dispatch, measureDispatch } from "./fleet/dispatch.ts";
import { type IdleWorker, measureIdleWorker } from "./fleet/idle-worker.ts";
import { type LiveVms, measureLiveVms } from "./fleet/live-vms.ts";

const { values } = parseArgs({
  options: {
    only: { type: "string", default: "dispatch,live,idle" },
    vms: { type: "string", default: "10000" },
    workers: { type: "string", default: "20" },
    slots: { type: "string", default: "4" },
    live: { type: "string", default: "1000" },
    hosts: { type: "string", default: "100" },
    idle: { type: "string", default: "100" },
    seconds: { type: "string", default: "60" },
    json: { type: "string" },
  },
});
const wanted = values.only.split(",");
const megabytes = (bytes: number) => `${Math.round(bytes / 1024 ** 2)} MB`;
const lines: string[] = [];
const figures: { dispatch?: Dispatch; live?: LiveVms; idle?: IdleWorker } = {};

if (wanted.includes("dispatch")) {
  const size = { vms: Number(values.vms), workers: Number(values.workers), slots: Number(values.slots) };
  const dispatch = await measureDispatch(size);
  figures.dispatch = dispatch;
  const { drover, floor } = dispatch;
  lines.push(
    `dispatch of ${size.vms} short VMs through ${size.workers} workers of ${size.slots} slots`,
    `  drover  ${drover.toFixed(0)} per second`,
    `  bare    ${floor.toFixed(0)} per second (fetch, two fsyncs, /bin/true, complete)`,
    `  ratio   ${(drover / floor).toFixed(2)}   (reach: at least 0.6)`,
  );
}
if (wanted.includes("live")) {
  const size = { vms: Number(values.live), hosts: Number(values.hosts) };
  const live = await measureLiveVms(size);
  figures.live = live;
  const { droverMs, bareMs, availableBytes } = live;
  lines.push(
    `${size.vms} live VMs on ${size.hosts} hosts, until all run`,
    `  drover  ${(droverMs / 1_000).toFixed(1)} s, ${megabytes(availableBytes)} of memory left`,
    `  bare    ${(bareMs / 1_000).toFixed(1)} s`,
    `  ratio   ${(droverMs / bareMs).toFixed(2)}   (reach: at most 1.4)`,
  );
}
if (wanted.includes("idle")) {
  const idle = await measureIdleWorker({
    vms: Number(values.idle),
    seconds: Number(values.seconds),
  });
  figures.idle = idle;
  const { withVms, without } = idle;
  lines.push(
    `one worker with ${values.idle} idle VMs, over ${values.seconds} s`,
    `  drover  ${withVms.cpuPercent.toFixed(2)} % of a core, ${megabytes(withVms.rssBytes)}   (reach: at most 1 % and 120 MB)`,
    `  the same without VMs: ${without.cpuPercent.toFixed(2)} %, ${megabytes(without.rssBytes)}`,
  );
}
process.stdout.write(`${lines.join("\n")}\n`);
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(figures, null, 2)}\n`);
