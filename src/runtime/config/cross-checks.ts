import type { FieldProblem } from "../../contract/errors.ts";
import { formatGoDurationMs } from "../../contract/go-duration.ts";
import type { Config } from "../config-shape.ts";
import { isLoopbackHost } from "../redis-url.ts";
import { cocosSurprises } from "./cocos-surprises.ts";
import { checkConnections, connectionWarnings } from "./connection-checks.ts";
import type { Env } from "./env-reader.ts";
import { goTrimSpace } from "./go-strconv.ts";
import { REFUSED_DISK_NAME } from "./known-names.ts";
import { portsInRange, reservedPorts } from "./reserved-ports.ts";
import { memorySizeBytes } from "./value-types.ts";

/** `fields` are all variables that take part; the first one is named as the faulty one. */
export type Note = (fields: readonly [string, ...string[]], message: string) => void;

/** What is wrong between values that are right by themselves. */
export function crossCheck(config: Config, env: Env, note: Note): void {
  const { qemu, launch } = config;
  const dstDiskFile = env[REFUSED_DISK_NAME] ?? "";
  if (dstDiskFile !== "") {
    note(
      [REFUSED_DISK_NAME],
      `${JSON.stringify(dstDiskFile)} is not allowed: all VMs would write to this one disk. Unset it; every VM gets a disk of its own, made from MANAGER_QEMU_SRC_DISK_FILE.`,
    );
  }
  if (qemu.smpCount > qemu.smpMaxCpus) {
    note(
      ["MANAGER_QEMU_SMP_COUNT", "MANAGER_QEMU_SMP_MAXCPUS"],
      `"${qemu.smpCount}" is above MANAGER_QEMU_SMP_MAXCPUS, which is ${qemu.smpMaxCpus}. Lower the one or raise the other.`,
    );
  }
  checkMemory(config, note);
  checkMemoryClasses(config, note);
  checkBootFiles(config, note);
  if (config.teeWish.enableSevSnp === true && config.teeWish.enableTdx === true) {
    note(
      ["MANAGER_QEMU_ENABLE_TDX", "MANAGER_QEMU_ENABLE_SEV_SNP"],
      '"true" contradicts MANAGER_QEMU_ENABLE_SEV_SNP, which is true as well: a VM is the one or the other. Unset one of them.',
    );
  }
  checkConnections(config, note);
  if (config.http.port !== 0 && config.http.port === config.grpc.port) {
    note(
      ["MANAGER_GRPC_PORT", "MANAGER_HTTP_PORT"],
      `"${config.grpc.port}" is MANAGER_HTTP_PORT as well. Choose two ports.`,
    );
  }
  if (launch.backoffMs > launch.backoffMaxMs) {
    note(
      ["DROVER_BACKOFF", "DROVER_BACKOFF_MAX"],
      `"${formatGoDurationMs(launch.backoffMs)}" is above DROVER_BACKOFF_MAX, which is ${formatGoDurationMs(launch.backoffMaxMs)}. Lower the one or raise the other.`,
    );
  }
  checkWatching(config, note);
  checkFleet(config, env, note);
  const { first, last } = qemu.hostFwdRange;
  if (reservedPorts(config).length > last - first) {
    note(
      ["MANAGER_QEMU_HOST_FWD_RANGE", "MANAGER_HTTP_PORT", "MANAGER_GRPC_PORT", "DROVER_REDIS_URL"],
      `"${first}-${last}" holds no port but drover's own. Choose another range.`,
    );
  }
}

/** A worker's metrics tell what runs on its host; what reaches them from elsewhere must be asked who it is. */
function checkWatching({ watching, insecure }: Config, note: Note): void {
  const { workerListen, workerTokenFile } = watching;
  if (workerListen === undefined || workerListen === "off" || workerTokenFile !== "" || insecure) return;
  if (isLoopbackHost(workerListen.host)) return;
  note(
    ["DROVER_WORKER_METRICS", "DROVER_WORKER_METRICS_TOKEN_FILE", "DROVER_INSECURE"],
    `"${workerListen.host}:${workerListen.port}" is reached by other machines, and nobody is asked who they are. Name a file with a token in DROVER_WORKER_METRICS_TOKEN_FILE, or listen on 127.0.0.1; DROVER_INSECURE=true if the network keeps strangers out.`,
  );
}

/** A lease must outlive a few missed renewals, and a host must be without one before it can be lost. */
function checkFleet({ lease, hostLost, failpoint }: Config, env: Env, note: Note): void {
  if (lease.renewMs * 3 > lease.ttlMs) {
    note(
      ["DROVER_LEASE_RENEW", "DROVER_LEASE"],
      `"${formatGoDurationMs(lease.renewMs)}" is more than a third of DROVER_LEASE, which is ${formatGoDurationMs(lease.ttlMs)}. Lower the one or raise the other.`,
    );
  }
  if (hostLost.afterMs <= lease.ttlMs) {
    note(
      ["DROVER_HOST_LOST_AFTER", "DROVER_LEASE"],
      `"${formatGoDurationMs(hostLost.afterMs)}" is not above DROVER_LEASE, which is ${formatGoDurationMs(lease.ttlMs)}: a live host would count as lost. Raise the one or lower the other.`,
    );
  }
  if (failpoint !== "" && env["NODE_ENV"] === "production") {
    note(["DROVER_FAILPOINT", "NODE_ENV"], "is for tests of drover itself and kills workers. Unset it.");
  }
}

/** QEMU's own rules for -m (machine_set_mem; tried with 7.2). */
function checkMemory({ qemu: { memory } }: Config, note: Note): void {
  const sizeBytes = memorySizeBytes(memory.size, "M") ?? 0;
  const maxBytes = memorySizeBytes(memory.max, "B") ?? 0;
  if (sizeBytes > maxBytes) {
    note(
      ["MANAGER_QEMU_MEMORY_SIZE", "MANAGER_QEMU_MAX_MEMORY"],
      `"${memory.size}" is above MANAGER_QEMU_MAX_MEMORY, which is ${memory.max}. Lower the one or raise the other.`,
    );
  } else if (sizeBytes === maxBytes && memory.slots > 0) {
    note(
      ["MANAGER_QEMU_MAX_MEMORY", "MANAGER_QEMU_MEMORY_SIZE", "MANAGER_QEMU_MEMORY_SLOTS"],
      `"${memory.max}" equals MANAGER_QEMU_MEMORY_SIZE, which leaves nothing for the ${memory.slots} slots. Raise it, or set MANAGER_QEMU_MEMORY_SLOTS=0.`,
    );
  }
}

/** What QEMU would refuse for a VM of the class, it refuses for each. */
function checkMemoryClasses({ qemu: { memory }, placement }: Config, note: Note): void {
  const maxBytes = memorySizeBytes(memory.max, "B") ?? 0;
  for (const { name, size, bytes } of placement.memoryClasses) {
    if (bytes < maxBytes || (bytes === maxBytes && memory.slots === 0)) continue;
    note(
      ["DROVER_MEMORY_CLASSES", "MANAGER_QEMU_MAX_MEMORY", "MANAGER_QEMU_MEMORY_SLOTS"],
      `"${name}=${size}" is not below MANAGER_QEMU_MAX_MEMORY, which is ${memory.max}. Lower the one or raise the other.`,
    );
  }
}

/** Cocos validates kernel and RAM disk before a start; a value of blanks only is none. */
function checkBootFiles({ qemu }: Config, note: Note): void {
  const blank = (text: string): boolean => goTrimSpace(text) === "";
  if (qemu.enableDisk) {
    if (blank(qemu.disk.srcFile))
      note(
        ["MANAGER_QEMU_SRC_DISK_FILE", "MANAGER_QEMU_ENABLE_DISK"],
        `"${qemu.disk.srcFile}" names no file, and MANAGER_QEMU_ENABLE_DISK needs one.`,
      );
    return;
  }
  if (blank(qemu.kernelFile))
    note(
      ["MANAGER_QEMU_DISK_IMG_KERNEL_FILE", "MANAGER_QEMU_ENABLE_DISK"],
      `"${qemu.kernelFile}" names no file, and without MANAGER_QEMU_ENABLE_DISK a VM needs a kernel.`,
    );
  if (blank(qemu.rootFsFile))
    note(
      ["MANAGER_QEMU_DISK_IMG_ROOTFS_FILE", "MANAGER_QEMU_ENABLE_DISK"],
      `"${qemu.rootFsFile}" names no file, and without MANAGER_QEMU_ENABLE_DISK a VM needs a RAM disk.`,
    );
}

/** What works, but hardly as it was meant. */
export function crossWarnings(config: Config): readonly FieldProblem[] {
  const warnings: FieldProblem[] = [...cocosSurprises(config), ...connectionWarnings(config)];
  const { first, last } = config.qemu.hostFwdRange;
  for (const { port, setBy } of portsInRange(config)) {
    warnings.push({
      field: setBy,
      message: `Port ${port} lies in MANAGER_QEMU_HOST_FWD_RANGE (${first}-${last}); drover keeps its own ports out of the range, so no VM gets it.`,
    });
  }
  if (config.qemu.sevSnp.hostData !== "") {
    warnings.push({
      field: "MANAGER_QEMU_HOST_DATA",
      message: "Has no effect: every VM gets host data of its own, as in Cocos.",
    });
  }
  if (config.qemu.useSudo) {
    warnings.push({
      field: "MANAGER_QEMU_USE_SUDO",
      message:
        "QEMU keeps the worker's own user; sudo only gives it the rights to open root's devices and to lock memory. A worker that is root calls no sudo. See docs/hardening.md.",
    });
  }
  if (config.qemu.enableDisk && config.firmware === "seabios") {
    warnings.push({
      field: "DROVER_FIRMWARE",
      message: "seabios cannot boot the EFI partition that a Cocos disk image starts from.",
    });
  }
  if (config.secrets.keys !== "" && config.secrets.keyFile !== "") {
    warnings.push({ field: "DROVER_SECRETS_KEY_FILE", message: "Is not read, because DROVER_SECRETS_KEY is set." });
  }
  if (/\d$/.test(config.qemu.memory.size)) {
    warnings.push({
      field: "MANAGER_QEMU_MEMORY_SIZE",
      message: `"${config.qemu.memory.size}" has no unit: QEMU reads it as MiB, but as bytes for a confidential VM. Write ${config.qemu.memory.size}M.`,
    });
  }
  return warnings;
}
