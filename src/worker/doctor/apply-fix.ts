import { removeVmDirectory } from "../../qemu/vm-directory.ts";
import { vmPaths } from "../../qemu/vm-paths.ts";
import { PortSlots } from "../../queue/port-slots.ts";
import { setNoEviction } from "../../queue/redis-health.ts";
import { endProcess } from "../../runtime/end-process.ts";
import { bootId, isAlive } from "../../runtime/process-identity.ts";
import { type Check, type Fix, isSameFix } from "./check.ts";
import { examine, type Patient } from "./examine.ts";

const TERM_MS = 2_000;

export interface FixOutcome {
  readonly fix: Fix;
  /** `gone`: it needed no mending any more. */
  readonly outcome: "done" | "gone" | "failed";
  readonly why?: string;
}

/**
 * Does what was listed and agreed to, as far as it is still to be done: everything is looked at once more first, since
 * a worker may have come or a VM moved while a person thought about it.
 */
export async function applyFixes(patient: Patient, agreed: readonly Fix[]): Promise<readonly FixOutcome[]> {
  const now = await examine(patient);
  const outcomes: FixOutcome[] = [];
  for (const fix of agreed) outcomes.push(await applyOne(patient, fix, now));
  return outcomes;
}

async function applyOne(patient: Patient, fix: Fix, now: readonly Check[]): Promise<FixOutcome> {
  if (!now.some((check) => check.fix !== undefined && isSameFix(check.fix, fix))) return { fix, outcome: "gone" };
  try {
    return { fix, outcome: (await act(patient, fix)) ? "done" : "gone" };
  } catch (error) {
    return { fix, outcome: "failed", why: error instanceof Error ? error.message : String(error) };
  }
}

/** False when there was nothing to do. Throws what stood in the way. */
async function act({ config, redis, keys }: Patient, fix: Fix): Promise<boolean> {
  switch (fix.kind) {
    case "end_process": {
      if (!isAlive(fix)) return false;
      return (await endProcess(fix, { termMs: TERM_MS })) !== "already-dead";
    }
    case "remove_directory": {
      await removeVmDirectory(vmPaths({ stateDir: config.stateDir, vmId: fix.vmId, epoch: fix.epoch }));
      return true;
    }
    case "give_port": {
      if (redis === undefined) return false;
      const { first, last } = config.qemu.hostFwdRange;
      const slots = new PortSlots({ redis, keys, bootId: bootId(), range: { first, last, reserved: [] } });
      return slots.give(fix, fix.port);
    }
    case "set_noeviction": {
      if (redis === undefined) return false;
      await setNoEviction(redis);
      return true;
    }
  }
}
