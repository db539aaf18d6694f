import type { VmRecord } from "../contract/vm-record.ts";
import type { VmView } from "../contract/vm-view.ts";
import type { ApiDeps } from "./api-deps.ts";
import { hostOf, type LiveOwners, toView } from "./view.ts";

type ShowDeps = Pick<ApiDeps, "hosts" | "gate" | "logger">;

/** Views of VMs, with the leases of all their hosts read at once. */
export async function showVms(deps: ShowDeps, records: readonly VmRecord[]): Promise<VmView[]> {
  const owners = await liveOwners(deps, records);
  return records.map((record) => toView(record, owners));
}

export async function showVm(deps: ShowDeps, record: VmRecord): Promise<VmView> {
  return toView(record, await liveOwners(deps, [record]));
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
