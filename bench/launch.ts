/**
 * Start and forced removal of a VM through the whole of drover (HTTP call -> Redis -> worker -> QEMU -> event) against
 * the same command spawned bare and asked over QMP, interleaved in one run.
 *
 *     npm run bench:launch -- [--rounds 30] [--json FILE]
 *
 * The guest boots from an overlay of a disk, as with MANAGER_QEMU_ENABLE_DISK; the bare QEMU finds its overlay ready.
 */

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { BareQemu } from "./bare-qemu.ts";
import { startDroverProcess } from "./drover-process.ts";
import { EventTap } from "./event-tap.ts";
import { countRoundTrips, type RoundTrips } from "./round-trips.ts";
import { formatSummary, type Summary, summarize } from "./statistics.ts";

const WARM_UP_ROUNDS = 3;
const ROUND_TRIP_VMS = 10;
/** Between rounds, so that neither side meets what the one before has left running (a spare overlay, a dying QEMU). */
const ROUND_PAUSE_MS = 500;
/** What the work costs with the libvirt of Debian 12, on the machine of the facts that this project started from. */
const LIBVIRT = { start: 6.8, remove: 159 };

const { values } = parseArgs({ options: { rounds: { type: "string", default: "30" }, json: { type: "string" } } });
const guest = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "drover", "guest");
const sourceDisk = join(guest, "disk.qcow2");

const drover = await startDroverProcess({
  MANAGER_QEMU_ENABLE_KVM: "false",
  MANAGER_QEMU_CPU: "max",
  MANAGER_QEMU_MEMORY_SIZE: "256M",
  MANAGER_QEMU_MAX_MEMORY: "512M",
  MANAGER_QEMU_SMP_COUNT: "1",
  MANAGER_QEMU_SMP_MAXCPUS: "1",
  MANAGER_QEMU_ENABLE_DISK: "true",
  MANAGER_QEMU_SRC_DISK_FILE: sourceDisk,
  MANAGER_QEMU_OVMF_CODE_FILE: "/usr/share/OVMF/OVMF_CODE.fd",
  MANAGER_QEMU_OVMF_VARS_FILE: "/usr/share/OVMF/OVMF_VARS.fd",
});
const tap = await EventTap.open(drover.url);
const samples = {
  droverStart: [] as number[],
  bareStart: [] as number[],
  droverRemove: [] as number[],
  bareRemove: [] as number[],
};

let roundTrips: RoundTrips | undefined;

try {
  for (let round = -WARM_UP_ROUNDS; round < Number(values.rounds); round++) {
    await delay(ROUND_PAUSE_MS);
    const ours = await oneVm();
    await delay(ROUND_PAUSE_MS);
    const bare = await oneBare(ours.command);
    if (round < 0) continue; // caches of page, qemu-img and JIT
    samples.droverStart.push(ours.startMs);
    samples.droverRemove.push(ours.removeMs);
    samples.bareStart.push(bare.startMs);
    samples.bareRemove.push(bare.removeMs);
  }
  roundTrips = await countRoundTrips(drover.redisUrl, ROUND_TRIP_VMS, async () => {
    for (let i = 0; i < ROUND_TRIP_VMS; i++) await oneVm();
  });
} finally {
  tap.close();
  await drover.stop();
}
report();

async function oneVm(): Promise<{ command: string; startMs: number; removeMs: number }> {
  const begunMs = performance.now();
  const created = await fetch(`${drover.url}/v1/vms`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  const { id } = (await created.json()) as { id: string };
  const startMs = (await tap.arrival(id, "vm.running")) - begunMs;
  const { command } = (await (await fetch(`${drover.url}/v1/vms/${id}`)).json()) as { command: string };
  const removalMs = performance.now();
  await fetch(`${drover.url}/v1/vms/${id}?force=true`, { method: "DELETE" });
  return { command, startMs, removeMs: (await tap.arrival(id, "vm.removed")) - removalMs };
}

/** The very command of the VM before, its files in a directory of its own and ready. */
async function oneBare(command: string): Promise<{ startMs: number; removeMs: number }> {
  const dir = mkdtempSync(join(tmpdir(), "drbare-"));
  try {
    const vmDir = /file=([^ ,]+)\/OVMF_VARS\.fd/.exec(command)?.[1];
    if (vmDir === undefined) throw new Error("the command has no firmware variables");
    for (const share of ["env", "certs"]) mkdirSync(join(dir, share), { mode: 0o700 });
    cpSync("/usr/share/OVMF/OVMF_VARS.fd", join(dir, "OVMF_VARS.fd"));
    execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", sourceDisk, join(dir, "disk.qcow2")]);
    const words = shellWords(command.replaceAll(vmDir, dir));
    const qemu = await BareQemu.start(words, dir);
    return { startMs: qemu.startMs, removeMs: await qemu.quit() };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Lets a shell take its line apart: the command is given as one. */
function shellWords(line: string): string[] {
  return execFileSync("sh", ["-c", `printf '%s\\0' ${line}`])
    .toString()
    .split("\0")
    .slice(0, -1);
}

function report(): void {
  const start = { drover: summarize(samples.droverStart), bare: summarize(samples.bareStart) };
  const remove = { drover: summarize(samples.droverRemove), bare: summarize(samples.bareRemove) };
  const line = (
    what: string,
    { drover: ours, bare }: { drover: Summary; bare: Summary },
    reach: number,
    peer: number,
  ) =>
    [
      what,
      `  drover  ${formatSummary(ours)}`,
      `  bare    ${formatSummary(bare)}`,
      `  ratio   ${(ours.median / bare.median).toFixed(2)}   (reach: at most ${reach}; libvirt ${peer})`,
    ].join("\n");
  process.stdout.write(
    `${line("create to running", start, 1.6, LIBVIRT.start)}\n${line("forced remove", remove, 5, LIBVIRT.remove)}\n`,
  );
  process.stdout.write(
    `Redis round trips per VM life: ${roundTrips?.perVm} (aim: 12)\n  ${JSON.stringify(roundTrips?.byCommand)}\n`,
  );
  const json = {
    roundTrips,
    start: { ...start, ratio: start.drover.median / start.bare.median },
    remove: { ...remove, ratio: remove.drover.median / remove.bare.median },
  };
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(json, null, 2)}\n`);
  else process.stdout.write(`${JSON.stringify(json)}\n`);
}
