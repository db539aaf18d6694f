import type { VmRecord } from "../contract/vm-record.ts";
import type { VmAccepted, VmView } from "../contract/vm-view.ts";
import type { SubmitWarning } from "../contract/waiting.ts";
import type { ApiDeps } from "./api-deps.ts";
import { hostsThatFit } from "./host-fit.ts";
import { hostOf, type LiveOwners, toView } from "./view.ts";
import { isWaiting, whyWaiting } from "./waiting.ts";

type ShowDeps = Pick<ApiDeps, "hosts" | "fleet" | "queue" | "gate" | "logger">;
type Waiting = VmView["waiting"];

/** Views of VMs, with the leases of all their hosts read at once, and where those that wait stand in their queues. */
export async function showVms(deps: ShowDeps, records: readonly VmRecord[]): Promise<VmView[]> {
  const [owners, waiting] = await Promise.all([liveOwners(deps, records), reasonsToWait(deps, records)]);
  return records.map((record) => toView(record, owners, isWaiting(record) ? waiting?.get(record.vmId) : null));
}

export async function showVm(deps: ShowDeps, record: VmRecord): Promise<VmView> {
  const [view] = await showVms(deps, [record]);
  if (view === undefined) throw new Error("no view of a VM");
  return view;
}

/** The view of a VM that was just submitted, with what its submitter should know. Asks as little as can be. */
export async function showAccepted(
  deps: ShowDeps,
  { record, replayed }: { readonly record: VmRecord; readonly replayed: boolean },
): Promise<VmAccepted> {
  const [owners, warnings] = await Promise.all([
    liveOwners(deps, [record]),
    isWaiting(record) ? placementWarnings(deps, record.pool) : [],
  ]);
  return { ...toView(record, owners, isWaiting(record) ? undefined : null), warnings: [...warnings], replayed };
}

/** What stands in the way of every VM of a pool; nothing where the hosts cannot be asked. */
export async function placementWarnings(
  { fleet, gate, logger }: Pick<ApiDeps, "fleet" | "gate" | "logger">,
  pool: string,
): Promise<readonly SubmitWarning[]> {
  try {
    const { warning } = hostsThatFit(await gate.run(() => fleet.get()), pool);
    return warning === undefined ? [] : [warning];
  } catch (error) {
    logger.debug({ err: error }, "the hosts could not be read");
    return [];
  }
}

async function reasonsToWait(
  { fleet, queue, gate, logger }: ShowDeps,
  records: readonly VmRecord[],
): Promise<ReadonlyMap<string, Waiting> | undefined> {
  const waiting = records.filter(isWaiting);
  if (waiting.length === 0) return undefined;
  try {
    const [hosts, places] = await gate.run(() => Promise.all([fleet.get(), queue.places(waiting)]));
    return new Map(
      waiting.flatMap((record, index) => {
        const place = places[index];
        return place === undefined ? [] : [[record.vmId, whyWaiting(record, place, hosts)] as const];
      }),
    );
  } catch (error) {
    logger.debug({ err: error }, "nobody could be asked why VMs wait");
    return undefined;
  }
}

async function liveOwners({ hosts, gate, logger }: ShowDeps, records: readonly VmRecord[]): Promise<LiveOwners> {
  const wanted = records.flatMap((record) => hostOf(record) ?? []);
  if (wanted.length === 0) return new Map();
  try {
    return await gate.run(() => hosts.leases(wanted));
  } catch (error) {
    // What was accepted or read already is worth an answer also without this.
    logger.debug({ err: error }, "the leases of the hosts could not be read");
    return undefined;
  }
}
