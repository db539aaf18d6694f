import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { findUuidProcesses, type UuidProcess } from "../../src/qemu/process-scan.ts";

/** TCP ports of this machine on which somebody listens, within a range; both families. */
export function listeningPorts({ first, last }: { first: number; last: number }): number[] {
  const LISTEN = "0A";
  const ports = ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((table) =>
    readFileSync(table, "latin1")
      .split("\n")
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === LISTEN)
      .map((fields) => Number.parseInt(fields[1]?.split(":")[1] ?? "", 16)),
  );
  return [...new Set(ports)].filter((port) => port >= first && port <= last).sort((a, b) => a - b);
}

/** QEMUs of the given VMs. */
export function machinesOf(vmIds: ReadonlySet<string>): readonly UuidProcess[] {
  return findUuidProcesses().filter(({ uuid }) => vmIds.has(uuid));
}

/** Command lines of all processes that name a directory: QEMU, qemu-img, whatever drover starts for a VM. */
export function processesNaming(dir: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((pid) => ({ pid, args: commandLine(pid) }))
    .filter(({ args }) => args.includes(dir))
    .map(({ pid, args }) => `${pid} ${args}`);
}

/** Files below a directory, relative to it; directories end in a slash. */
export function filesBelow(dir: string, under = ""): string[] {
  return namesIn(join(dir, under)).flatMap((entry) => {
    const path = join(under, entry.name);
    return entry.isDirectory() ? [`${path}/`, ...filesBelow(dir, path)] : [path];
  });
}

/** Bytes that all files below a directory take on the disk. */
export function bytesBelow(dir: string): number {
  return filesBelow(dir)
    .filter((path) => !path.endsWith("/"))
    .reduce((sum, path) => sum + sizeOf(join(dir, path)), 0);
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size;
  } catch {
    return 0; // deleted since the listing
  }
}

function namesIn(dir: string) {
  try {
    return readdirSync(dir, { withFileTypes: true });
  } catch {
    return []; // deleted since the listing
  }
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ");
  } catch {
    return ""; // it ended since the listing
  }
}
