import { DroverError, type FieldProblem } from "../../contract/errors.ts";
import type { QemuConfig } from "../../contract/qemu-config.ts";
import type { Config, ListenerConfig } from "../config-shape.ts";
import { crossCheck, crossWarnings } from "./cross-checks.ts";
import { type Env, EnvReader, type ReadVariable } from "./env-reader.ts";
import { grpcAddressWarnings, readGrpcAddress } from "./grpc-address.ts";
import { warnOfUnreadNames } from "./unknown-names.ts";
import type { ProcessFacts, Variable } from "./variable.ts";
import { VARIABLES } from "./variables.ts";

export interface LoadedConfig {
  /** Frozen, all levels. */
  readonly config: Config;
  /** What should be read once at start: unknown names, values without effect. `field` is the variable's name. */
  readonly warnings: readonly FieldProblem[];
  /** Every variable with the text in force and where it came from; holds secrets, print it by `describeConfig` only. */
  readonly sources: readonly ReadVariable[];
}

/**
 * Reads the configuration out of an environment. Nothing else is looked at but the process's user (for the default of
 * the state directory), which a test may give as `isRoot`. Throws one `DroverError("config_invalid")` that lists every
 * problem with name, value, what is allowed and a way out.
 */
export function loadConfig(env: Env, facts: Partial<ProcessFacts> = {}): LoadedConfig {
  const reader = new EnvReader(env, { isRoot: process.getuid?.() === 0, homeDir: env["HOME"] ?? "", ...facts });
  const config = readConfig(reader);
  crossCheck(config, env, (fields, message) => {
    // A value that is wrong by itself was replaced by its default here: what follows from that is no problem of its own.
    const known = reader.problems.some(({ field }) => fields.includes(field));
    if (!known) reader.note(fields[0], message);
  });
  if (reader.problems.length > 0) throw configInvalid(reader.problems);
  const warnings = [...warnOfUnreadNames(env), ...grpcAddressWarnings(env), ...crossWarnings(config)];
  return { config: deepFreeze(config), warnings, sources: reader.reads };
}

function configInvalid(problems: readonly FieldProblem[]): DroverError {
  const count = problems.length === 1 ? "a problem" : `${problems.length} problems`;
  const listed = problems.map(({ field, message }) => `\n  ${field}: ${message}`).join("");
  return new DroverError("config_invalid", `The configuration has ${count}:${listed}`, { problems });
}

function readConfig(reader: EnvReader): Config {
  const { manager, http, grpc, redis, host, secrets, launch, stop, keeping, lease, hostLost, access, auth, test, tee } =
    VARIABLES;
  readGrpcAddress(reader); // before the section whose values it may stand for
  const { reconcileMs, sweepMs, eventsMax, ...keep } = readAll(reader, keeping);
  return {
    manager: readAll(reader, manager),
    http: readAll<ListenerConfig>(reader, http),
    grpc: readAll<ListenerConfig>(reader, grpc),
    grpcCalls: readAll(reader, VARIABLES.grpcCalls),
    qemu: readQemu(reader),
    teeWish: { enableSevSnp: reader.read(tee.enableSevSnp), enableTdx: reader.read(tee.enableTdx) },
    redis: readAll(reader, redis),
    ...readAll(reader, host),
    qemuProcess: readAll(reader, VARIABLES.qemuProcess),
    secrets: readAll(reader, secrets),
    launch: readAll(reader, launch),
    stop: readAll(reader, stop),
    reconcileMs,
    sweepMs,
    eventsMax,
    keep,
    lease: readAll(reader, lease),
    hostLost: readAll(reader, hostLost),
    placement: readAll(reader, VARIABLES.placement),
    batches: readAll(reader, VARIABLES.batches),
    watching: readAll(reader, VARIABLES.watching),
    ...readAll(reader, access),
    auth: readAll(reader, auth),
    attestation: readAll(reader, VARIABLES.attestation),
    ...readAll(reader, test),
  };
}

function readQemu(reader: EnvReader): QemuConfig {
  const { machine, devices, tee, ovmfCode, ovmfVars } = VARIABLES;
  const { memorySize, memorySlots, memoryMax, memoryBackendId, ...plain } = readAll(reader, machine);
  const device = readAll(reader, devices);
  return {
    ...plain,
    memory: { size: memorySize, slots: memorySlots, max: memoryMax, backendId: memoryBackendId },
    ovmfCode: readAll(reader, ovmfCode),
    ovmfVars: readAll(reader, ovmfVars),
    netdevId: device.netdevId,
    hostFwdAgent: device.hostFwdAgent,
    guestFwdAgent: device.guestFwdAgent,
    hostFwdRange: device.hostFwdRange,
    virtioNet: {
      disableLegacy: device.disableLegacy,
      iommuPlatform: device.iommuPlatform,
      addr: device.netAddr,
      romFile: device.romFile,
    },
    kernelFile: device.kernelFile,
    rootFsFile: device.rootFsFile,
    kernelCmdline: device.kernelCmdline,
    enableDisk: device.enableDisk,
    disk: { srcFile: device.srcDiskFile, id: device.diskId, format: device.diskFormat, scsiId: device.diskScsiId },
    sevSnp: {
      id: reader.read(tee.sevSnpId),
      cBitPos: reader.read(tee.cBitPos),
      reducedPhysBits: reader.read(tee.reducedPhysBits),
      enableHostData: reader.read(tee.enableHostData),
      hostData: reader.read(tee.hostData),
    },
    tdx: {
      id: reader.read(tee.tdxId),
      quoteGenerationPort: reader.read(tee.quoteGenerationPort),
      ovmfFile: device.tdxOvmfFile,
    },
    igvm: { id: reader.read(tee.igvmId), file: reader.read(tee.igvmFile) },
    gpu: { bdf: device.gpuBdf, rootPort: device.gpuRootPort, bus: device.gpuBus, fwCfgMmioMb: device.gpuFwCfgMmioMb },
  };
}

type VariablesOf<T> = { readonly [K in keyof T]: Variable<T[K]> };

/** The values of a section, under the section's own keys. */
function readAll<T extends object>(reader: EnvReader, section: VariablesOf<T>): T {
  const values: Partial<T> = {};
  for (const key in section) values[key] = reader.read(section[key]);
  return values as T; // every key of the section was just set
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  for (const inner of Object.values(value)) deepFreeze(inner);
  return Object.freeze(value);
}
