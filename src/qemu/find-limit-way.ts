import { accessSync, constants, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { DroverError } from "../contract/errors.ts";
import type { Config } from "../runtime/config-shape.ts";
import { findProgram } from "../runtime/find-program.ts";
import type { LimitWay } from "./limiter.ts";
import { childEnvironment } from "./qemu-process.ts";

const CONTROLLERS = ["memory", "cpu", "pids"] as const;
/** Where the worker itself stands below a delegated cgroup: DelegateSubgroup= of its unit. */
const WORKER_GROUP = "worker";

/** The part of the system that is looked at; a test makes one of its own. */
export interface LimitPlace {
  readonly root: string;
  readonly uid: number;
  readonly pid: number;
}

/**
 * How QEMU can be limited here, by DROVER_QEMU_LIMITS. A cgroup is prepared for it: the worker moves into one of its
 * own where the kernel demands that; with `look` nothing is changed. Throws DroverError `config_invalid` when a way is named that this host does not
 * have; `auto` without any is `off`, with the reason.
 */
export function findLimitWay(
  { limits }: Config["qemuProcess"],
  purpose: "use" | "look",
  place: LimitPlace = { root: "/", uid: process.getuid?.() ?? 0, pid: process.pid },
): LimitWay {
  if (limits === "off") return { kind: "off" };
  const systemd = limits === "cgroup" ? "not asked for" : systemdWay(place);
  if (typeof systemd !== "string") return systemd;
  const cgroup = limits === "systemd" ? "not asked for" : cgroupWay(place, purpose);
  if (typeof cgroup !== "string") return cgroup;
  const reason = limits === "systemd" ? systemd : limits === "cgroup" ? cgroup : `${systemd}; ${cgroup}`;
  if (limits === "auto") return { kind: "off", reason };
  throw new DroverError(
    "config_invalid",
    `DROVER_QEMU_LIMITS="${limits}" cannot be had: ${reason}. Set auto (which takes what there is) or off`,
  );
}

function systemdWay({ root, uid }: LimitPlace): LimitWay | string {
  if (!existsSync(join(root, "run/systemd/system"))) return "this machine was not started by systemd";
  if (uid !== 0) return "only root may ask systemd for a scope";
  const systemdRun = findProgram("systemd-run", childEnvironment()["PATH"] ?? "");
  return systemdRun === undefined ? "there is no systemd-run" : { kind: "systemd", systemdRun };
}

/** The way, or why there is none. */
function cgroupWay(place: LimitPlace, purpose: "use" | "look"): LimitWay | string {
  const own = ownCgroup(place);
  if (own === undefined) return "there is no cgroup v2";
  const isBelow = basename(own) === WORKER_GROUP;
  const base = isBelow ? dirname(own) : own;
  // With systemd a worker that has moved could not be started again while its VMs live.
  if (!isBelow && existsSync(join(place.root, "run/systemd/system")))
    return "the worker's unit gives it no cgroup of its own (Delegate=yes with DelegateSubgroup=worker)";
  try {
    const offered = readFileSync(join(base, "cgroup.controllers"), "latin1").trim().split(" ");
    const missing = CONTROLLERS.filter((name) => !offered.includes(name));
    if (missing.length > 0) return `cgroup v2 has no ${missing.join(", ")} here`;
    if (purpose === "look") {
      accessSync(join(base, "cgroup.subtree_control"), constants.W_OK);
      return { kind: "cgroup", base };
    }
    if (!isBelow) {
      mkdirSync(join(base, WORKER_GROUP), { recursive: true });
      writeFileSync(join(base, WORKER_GROUP, "cgroup.procs"), String(place.pid));
    }
    writeFileSync(join(base, "cgroup.subtree_control"), CONTROLLERS.map((name) => `+${name}`).join(" "));
    return { kind: "cgroup", base };
  } catch (error) {
    return `the worker may not use its cgroup (${error instanceof Error ? error.message : String(error)})`;
  }
}

/** The directory of the cgroup v2 in which the process stands. */
function ownCgroup({ root, pid }: LimitPlace): string | undefined {
  try {
    const mounts = readFileSync(join(root, "proc/self/mountinfo"), "latin1").split("\n");
    const [, , , , mountPoint] = mounts.find((line) => / - cgroup2 /.test(line))?.split(" ") ?? [];
    const [, path] = /^0::(.*)$/m.exec(readFileSync(join(root, `proc/${pid}/cgroup`), "latin1")) ?? [];
    return mountPoint === undefined || path === undefined ? undefined : join(root, mountPoint, path);
  } catch {
    return undefined;
  }
}
