import { readdirSync, readFileSync } from "node:fs";
import { type ProcessIdentity, readStartTime } from "../runtime/process-identity.ts";

/** A process that carries `-uuid` on its command line. */
export interface UuidProcess extends ProcessIdentity {
  readonly uuid: string;
}

/**
 * Every process of the machine with an argument `-uuid <uuid>`, whoever started it. So a QEMU of drover's is found
 * also when every record of it is lost. Zombies have no command line and are not found.
 */
export function findUuidProcesses(): readonly UuidProcess[] {
  const found: UuidProcess[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const uuid = uuidArgument(readCommandLine(name));
    if (uuid === undefined) continue;
    const pid = Number(name);
    const startTimeTicks = readStartTime(pid);
    if (startTimeTicks !== undefined) found.push({ pid, startTimeTicks, uuid });
  }
  return found;
}

/** The processes with `-uuid <uuid>`: a VM must not be launched while there is one. */
export function findByUuid(uuid: string): readonly UuidProcess[] {
  return findUuidProcesses().filter((found) => found.uuid === uuid.toLowerCase());
}

function uuidArgument(commandLine: string): string | undefined {
  if (!commandLine.includes("-uuid\0")) return undefined; // nearly all processes: not worth a split
  const args = commandLine.split("\0");
  const flag = args.findIndex((arg) => arg === "-uuid" || arg === "--uuid");
  return flag === -1 ? undefined : args[flag + 1]?.toLowerCase();
}

function readCommandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1");
  } catch {
    return ""; // it ended since the listing
  }
}
