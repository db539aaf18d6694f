import { DroverError } from "../../contract/errors.ts";
import { hostPool } from "../../contract/placement.ts";
import type { KnownHost } from "../../queue/host-registry.ts";
import { bootId } from "../../runtime/process-identity.ts";
import type { ApiDeps } from "../api-deps.ts";

type PlaceDeps = Pick<ApiDeps, "config" | "gate" | "hosts" | "lostVms" | "queue">;

/** Decides where the VMs of CreateVm run. */
export class VmPlacement {
  readonly #deps: PlaceDeps;
  #last: Promise<unknown> = Promise.resolve();

  constructor(deps: PlaceDeps) {
    this.#deps = deps;
  }

  /**
   * Submits a VM to the pool where it belongs: that of a host on this very machine, so that the bare port of the answer
   * is one of the address that was called; undefined for any host. Throws `no_worker_here` when DROVER_GRPC_PLACE=here
   * and this machine has no live worker for the asked pool.
   */
  async submit<T>(askedPool: string | undefined, submitTo: (hostPool: string | undefined) => Promise<T>): Promise<T> {
    const { gate, hosts, config } = this.#deps;
    const { place } = config.grpcCalls;
    if (place === "any") return submitTo(undefined);
    const known = await gate.run(() => hosts.hosts());
    const here = known.filter((host) => isHere(host, askedPool));
    const [only] = here;
    if (only === undefined) {
      if (place === "here") throw noWorkerHere(askedPool);
      return submitTo(undefined);
    }
    if (here.length === 1) return submitTo(hostPool(only.hostId));
    // One after the other, since each takes a place that the next one must see.
    const turn = this.#last.then(async () => submitTo(hostPool(await emptiest(this.#deps, here))));
    this.#last = turn.catch(() => undefined); // the caller hears of it
    return turn;
  }
}

/** Whether the host is this machine in its present boot, lives, looks at its own pool (older ones do not), and serves the pool. */
function isHere({ hostId, lease, description }: KnownHost, askedPool: string | undefined): boolean {
  if (lease === undefined || lease.bootId !== bootId() || description === undefined) return false;
  if (!(description.serves ?? []).includes(hostPool(hostId))) return false;
  return askedPool === undefined || description.pools.includes(askedPool);
}

/** Of several hosts on one machine, the id of the one with most places that nobody has or waits for. */
async function emptiest({ gate, lostVms, queue }: PlaceDeps, hosts: readonly KnownHost[]): Promise<string> {
  const [held, waiting] = await gate.run(() =>
    Promise.all([lostVms.held(), Promise.all(hosts.map(({ hostId }) => queue.waiting(hostPool(hostId))))]),
  );
  const free = hosts.map((host, index) => {
    const vms = held.filter(({ hostId }) => hostId === host.hostId).length + (waiting[index] ?? 0);
    return { hostId: host.hostId, places: isResting(host) ? Number.NEGATIVE_INFINITY : placesOf(host) - vms };
  });
  free.sort((a, b) => b.places - a.places || (a.hostId < b.hostId ? -1 : 1));
  return free[0]?.hostId ?? "";
}

function placesOf({ description }: KnownHost): number {
  if (description === undefined) return 0;
  const { slots, ports } = description;
  const portCount = ports.last - ports.first + 1;
  return slots > 0 ? Math.min(slots, portCount) : portCount;
}

/** Whether the host fetches nothing for now, because its launches keep failing. */
function isResting({ description, nowMs }: KnownHost): boolean {
  return (description?.breaker?.openUntilMs ?? 0) > nowMs;
}

function noWorkerHere(askedPool: string | undefined): DroverError {
  const worker = askedPool === undefined ? "no live worker" : `no live worker that serves the pool ${askedPool}`;
  return new DroverError(
    "no_worker_here",
    `DROVER_GRPC_PLACE=here, and this machine has ${worker}; start \`drover worker\` here, call a machine that has one, or set DROVER_GRPC_PLACE=any`,
  );
}
