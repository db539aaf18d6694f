import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { BareQemu } from "../bare-qemu.ts";
import { compile, startScript } from "./processes.ts";
import { FleetQueue } from "./queue.ts";
import { type FleetWorld, openFleetWorld } from "./world.ts";

/** Bare QEMUs that are on their way at the same time: more would only wait for the two cores. */
const BARE_AT_ONCE = 16;
const HOSTS_PER_PROCESS = 25;
const PER_VM_MAX_MS = 2_000;
/** Workers that meet a Redis for the first time wait for each other before they fetch. */
const SETTLE_MS = 5_000;
const FIRST_BARE_PORT = 15_000;

export interface LiveVms {
  readonly vms: number;
  readonly hosts: number;
  readonly droverMs: number;
  readonly bareMs: number;
  /** What the machine had left with all of drover's VMs running. */
  readonly availableBytes: number;
}

/** So many real QEMUs (`-machine none -S`) on simulated hosts, from the release of the queue until all run, against bare spawning. */
export async function measureLiveVms({
  vms,
  hosts,
}: {
  readonly vms: number;
  readonly hosts: number;
}): Promise<LiveVms> {
  const world = await openFleetWorld("bare-machine");
  const qemu = compile("bare-machine.c", world.dir);
  try {
    const bareMs = await spawnBare(world, qemu, vms);
    const { tookMs, availableBytes } = await throughDrover(world, qemu, { vms, hosts });
    return { vms, hosts, droverMs: tookMs, bareMs, availableBytes };
  } finally {
    await world.close();
  }
}

async function throughDrover(
  world: FleetWorld,
  qemu: string,
  { vms, hosts }: { readonly vms: number; readonly hosts: number },
): Promise<{ readonly tookMs: number; readonly availableBytes: number }> {
  const env = { ...world.env, MANAGER_QEMU_BIN_PATH: qemu, MANAGER_MAX_VMS: String(Math.ceil(vms / hosts)) };
  const queue = new FleetQueue(env);
  try {
    await queue.fill(vms);
    const firsts = Array.from(
      { length: Math.ceil(hosts / HOSTS_PER_PROCESS) },
      (_, index) => index * HOSTS_PER_PROCESS,
    );
    const processes = await Promise.all(
      firsts.map((first) => {
        const count = Math.min(HOSTS_PER_PROCESS, hosts - first);
        return startScript("hosts.ts", [world.hostsDir, String(first), String(count)], env);
      }),
    );
    await delay(SETTLE_MS);
    await queue.release();
    const tookMs = await queue.until("running", vms, vms * PER_VM_MAX_MS);
    const availableBytes = availableMemory();
    await Promise.all(processes.map((running) => running.end()));
    return { tookMs, availableBytes };
  } finally {
    await queue.close();
  }
}

/** The same processes with the same options, by nothing but spawn() and a socket; how long until all run. */
async function spawnBare(world: FleetWorld, qemu: string, vms: number): Promise<number> {
  const begunMs = performance.now();
  const rest = Array.from({ length: vms }, (_, index) => index);
  const running: BareQemu[] = [];
  const one = async () => {
    for (let index = rest.pop(); index !== undefined; index = rest.pop()) {
      const dir = join(world.dir, `bare-${index}`);
      mkdirSync(dir);
      running.push(await BareQemu.start([qemu, ...bareArgs(dir, FIRST_BARE_PORT + index)], dir, { paused: true }));
    }
  };
  await Promise.all(Array.from({ length: BARE_AT_ONCE }, one));
  const tookMs = performance.now() - begunMs;
  for (const machine of running) await machine.quit();
  return tookMs;
}

/** What of drover's command line reaches such a machine. */
function bareArgs(dir: string, port: number): string[] {
  const uuid = randomUUID();
  const monitors = ["qmp", "rescue"].flatMap((name) => [
    "-chardev",
    `socket,id=${name},path=${join(dir, `${name}.sock`)},server=on,wait=off`,
    "-mon",
    `chardev=${name},mode=control`,
  ]);
  return [
    ...["-uuid", uuid, "-name", `bare-${uuid}`, "-pidfile", join(dir, "qemu.pid"), ...monitors],
    ...["-netdev", `user,id=net,hostfwd=tcp::${port}-:7002`, "-chardev", "ringbuf,id=console,size=1048576"],
    ...["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
  ];
}

function availableMemory(): number {
  return Number(/^MemAvailable:\s+(\d+)/m.exec(readFileSync("/proc/meminfo", "latin1"))?.[1]) * 1024;
}
