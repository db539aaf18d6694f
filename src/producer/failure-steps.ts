import { z } from "zod";
import { DroverError } from "../contract/errors.ts";
import { FAILURE_STEP_VMS } from "../contract/limits.ts";
import type { GroupPosition } from "../queue/failure-store.ts";
import type { ApiDeps } from "./api-deps.ts";

/** What a step is about: those that failed before it began, so that a VM that fails anew is not met twice. */
const Cursor = z.tuple([z.enum(["vms", "again"]), z.number(), z.number(), z.string()]);

export interface FailureStep {
  readonly vmIds: readonly string[];
  /** Where the next step begins; null when this one is the last. */
  readonly next: string | null;
}

/**
 * The VMs of a group that one call goes through, and how to go on. `kinds`: failed VMs, and those that were launched
 * again. Throws `failure_group_not_found` where the group has nothing that the caller may see, `invalid_request` for a
 * cursor that is none of ours.
 */
export async function nextStep(
  { gate, failures }: Pick<ApiDeps, "gate" | "failures">,
  wanted: {
    readonly group: string;
    readonly owner: string | undefined;
    readonly kinds: readonly ("vms" | "again")[];
    readonly cursor: string | undefined;
    readonly nowMs: number;
  },
): Promise<FailureStep> {
  const { group, owner, kinds } = wanted;
  if (wanted.cursor === undefined && !(await gate.run(() => failures.hasGroup({ group, owner })))) throw unknown(group);
  const at = wanted.cursor === undefined ? undefined : readCursor(wanted.cursor);
  const untilMs = at?.untilMs ?? wanted.nowMs;
  const kind = at?.kind ?? kinds[0] ?? "vms";
  const members = await gate.run(() =>
    failures.members({ group, owner, kind, after: at?.after, untilMs, count: FAILURE_STEP_VMS }),
  );
  const last = members.at(-1);
  const isFull = members.length === FAILURE_STEP_VMS;
  const following = kinds[kinds.indexOf(kind) + 1];
  const next =
    isFull && last !== undefined
      ? writeCursor({ kind, untilMs, after: last })
      : following === undefined
        ? null
        : writeCursor({ kind: following, untilMs, after: { atMs: 0, vmId: "" } });
  return { vmIds: members.map(({ vmId }) => vmId), next };
}

function writeCursor({ kind, untilMs, after }: { kind: string; untilMs: number; after: GroupPosition }): string {
  return Buffer.from(JSON.stringify([kind, untilMs, after.atMs, after.vmId])).toString("base64url");
}

function readCursor(cursor: string) {
  try {
    const [kind, untilMs, atMs, vmId] = Cursor.parse(JSON.parse(Buffer.from(cursor, "base64url").toString("utf8")));
    return { kind, untilMs, after: { atMs, vmId } };
  } catch (cause) {
    const message = "cursor must be the `next` of the step before; leave it out to begin";
    throw new DroverError("invalid_request", message, { cause, problems: [{ field: "cursor", message }] });
  }
}

function unknown(group: string): DroverError {
  return new DroverError(
    "failure_group_not_found",
    `there is no group of failures ${JSON.stringify(group.slice(0, 100))}; GET /v1/failures lists them`,
  );
}
