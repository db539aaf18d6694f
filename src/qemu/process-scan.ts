import { readdirSync, readFileSync, statSync } from "node:fs";
import { type ProcessIdentity, readStartTime } from "../runtime/process-identity.ts";

/** A process that carries `-uuid` on its command line. */
export interface UuidProcess extends ProcessIdentity {
  readonly uuid: string;
}

/** A process whose command line says that it is a launch of drover's. */
export interface LaunchProcess extends UuidProcess {
  readonly epoch: number;
  /** The state directory, as the command line spells it. */
  readonly stateDir: string;
}

/** How `VmPaths.pidFile` looks; it stands on the command line as an argument of its own. */
const PID_FILE = /^(\/.*)\/vms\/([0-9a-f-]{36})\/([1-9]\d{0,14})\/qemu\.pid$/;

const SUDO = /^(?:\/.*\/)?sudo$/;

/**
 * Every process of the machine with an argument `-uuid <uuid>`, whoever started it. So a QEMU of drover's is found
 * also when every record of it is lost. Zombies have no command line and are not found.
 */
export function findUuidProcesses(): readonly UuidProcess[] {
  return findProcesses((args) => {
    const uuid = valueAfter(args, "-uuid")?.toLowerCase();
    return uuid === undefined ? undefined : { uuid };
  });
}

/**
 * The launches of one state directory that have a process, found without reading a single file of that directory: a
 * damaged or unreadable one hides none. A uuid alone is not enough, as several state directories of one machine may
 * know the same VM: the pid file on the command line must lie in this very directory. It is compared by inode, which
 * sees through links and keeps out a container with a directory of the same name; by name where that cannot be asked.
 */
export function findLaunchesOf(stateDir: string): readonly LaunchProcess[] {
  const wanted = inodeOf(stateDir);
  return findLaunches().filter(({ pid, stateDir: named }) => {
    const found = inodeOf(`/proc/${pid}/root${named}`);
    return wanted === undefined || found === undefined ? named === stateDir : found === wanted;
  });
}

function findLaunches(): readonly LaunchProcess[] {
  return findProcesses((args) => {
    const uuid = valueAfter(args, "-uuid");
    const [, stateDir = "", vmId, epoch] = PID_FILE.exec(valueAfter(args, "-pidfile") ?? "") ?? [];
    return uuid === undefined || uuid !== vmId ? undefined : { uuid, epoch: Number(epoch), stateDir };
  });
}

function inodeOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch {
    return undefined; // gone, or not for our eyes
  }
}

/** The processes of one launch by the path of its pid file, also one that is only about to become QEMU. */
export function findByPidFile(pidFile: string): readonly ProcessIdentity[] {
  return findProcesses((args) => (valueAfter(args, "-pidfile") === pidFile ? {} : undefined));
}

/** The processes with `-uuid <uuid>`: a VM must not be launched while there is one. */
export function findByUuid(uuid: string): readonly UuidProcess[] {
  return findUuidProcesses().filter((found) => found.uuid === uuid.toLowerCase());
}

/** The processes of which `read` makes something, with their identity. */
function findProcesses<T extends object>(read: (args: readonly string[]) => T | undefined): (T & ProcessIdentity)[] {
  const found: (T & ProcessIdentity)[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const commandLine = readCommandLine(name);
    if (!commandLine.includes("-uuid\0")) continue; // nearly all processes: not worth a split
    const args = commandLine.split("\0");
    if (SUDO.test(args[0] ?? "")) continue; // stays beside the QEMU that it has started, with the same arguments
    const facts = read(args);
    if (facts === undefined) continue;
    const pid = Number(name);
    const startTimeTicks = readStartTime(pid);
    // Read twice: had the pid changed hands in between, the start time would be a stranger's.
    if (startTimeTicks !== undefined && readCommandLine(name) === commandLine)
      found.push({ pid, startTimeTicks, ...facts });
  }
  return found;
}

function valueAfter(args: readonly string[], option: string): string | undefined {
  const at = args.findIndex((arg) => arg === option || arg === `-${option}`);
  return at === -1 ? undefined : args[at + 1];
}

function readCommandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1");
  } catch {
    return ""; // it ended since the listing
  }
}
