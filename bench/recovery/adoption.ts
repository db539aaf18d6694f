import { createConnection } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { EventTap } from "../event-tap.ts";
import type { Fleet, Host } from "./fleet.ts";

/** As many at once as a worker takes over. */
const AT_ONCE = 32;

export interface Adoption {
  /** From the start of the process until it fetches, with all VMs taken over. */
  readonly startedMs: number[];
  /** From the start of the process until a reader has the last `vm.adopted`. */
  readonly toldMs: number[];
  /** The same process on the same host without VMs: what Node, Redis and QEMU's version cost. */
  readonly emptyMs: number[];
  /** CPU time of the process until it fetches, with the VMs and without. */
  readonly cpuMs: number[];
  readonly emptyCpuMs: number[];
  /** Connecting, `query-status` and `query-uuid` for the same VMs by a bare loop. */
  readonly bareMs: number[];
}

/** Kills the worker of a host, asks its VMs by a bare loop, and starts the worker again, some times over. */
export async function measureAdoption(
  { host, empty, tap }: { fleet: Fleet; host: Host; empty: Host; tap: EventTap },
  vmIds: readonly string[],
  rounds: number,
): Promise<Adoption> {
  const adoption: Adoption = {
    startedMs: [],
    toldMs: [],
    emptyMs: [],
    cpuMs: [],
    emptyCpuMs: [],
    bareMs: [],
  };
  for (let round = 0; round < rounds; round++) {
    await host.kill();
    adoption.bareMs.push(await askAll(vmIds.map((vmId) => join(host.stateDir, "vms", vmId, "1", "qmp.sock"))));
    await empty.kill();
    const without = await empty.start();
    adoption.emptyMs.push(without.startedAfterMs);
    adoption.emptyCpuMs.push(without.cpuMs);
    tap.forget();
    const told = Promise.all(vmIds.map((vmId) => tap.arrival(vmId, "vm.adopted")));
    const { spawnedMs, startedAfterMs, cpuMs } = await host.start();
    adoption.startedMs.push(startedAfterMs);
    adoption.cpuMs.push(cpuMs);
    adoption.toldMs.push(Math.max(...(await told)) - spawnedMs);
  }
  return adoption;
}

async function askAll(sockets: readonly string[]): Promise<number> {
  const begunMs = performance.now();
  const left = [...sockets];
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let next = left.pop(); next !== undefined; next = left.pop()) await ask(next);
    }),
  );
  return performance.now() - begunMs;
}

/** No drover code in it. */
async function ask(path: string): Promise<void> {
  const socket = createConnection(path);
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  await lines.next(); // greeting
  socket.write('{"execute":"qmp_capabilities"}\n{"execute":"query-status"}\n{"execute":"query-uuid"}\n');
  for (;;) {
    const line = await lines.next();
    if (line.done === true) throw new Error("QEMU closed its monitor");
    if (line.value.includes('"UUID"')) break;
  }
  socket.destroy();
}
