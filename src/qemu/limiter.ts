import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { errnoOf } from "../runtime/errno.ts";
import type { QemuLimits } from "./qemu-limits.ts";
import type { VmPaths } from "./vm-paths.ts";

/** How often the time of the processors is counted, in microseconds; the kernel's own choice. */
const CPU_PERIOD_US = 100_000;

/** How this host limits a QEMU. `reason`: why it does not. */
export type LimitWay =
  | { readonly kind: "off"; readonly reason?: string }
  | { readonly kind: "systemd"; readonly systemdRun: string }
  /** `base`: a directory of cgroup v2 that is the worker's, with the controllers switched on for its children. */
  | { readonly kind: "cgroup"; readonly base: string };

/**
 * Puts the QEMUs of one state directory under their limits. The cgroup of a launch is made here and deleted when
 * nothing is left in it; a scope is systemd's own affair.
 */
export class Limiter {
  readonly #way: LimitWay;
  readonly #limits: QemuLimits;
  readonly #stateDir: string;
  readonly #prefix: string;

  constructor(way: LimitWay, limits: QemuLimits, stateDir: string) {
    this.#way = way;
    this.#limits = limits;
    this.#stateDir = stateDir;
    // Another worker of this machine must not take ours for its own.
    this.#prefix = `drover-${createHash("sha256").update(stateDir).digest("hex").slice(0, 8)}-`;
  }

  /** The same for a QEMU that may use something else. */
  with(limits: QemuLimits): Limiter {
    return new Limiter(this.#way, limits, this.#stateDir);
  }

  /** Whether a program stands before QEMU, which then has to be named by its whole path. */
  get wraps(): boolean {
    return this.#way.kind === "systemd";
  }

  /** The command that runs `command` under its limits, with the same pid. */
  wrap(command: readonly string[], paths: VmPaths): readonly string[] {
    if (this.#way.kind !== "systemd") return command;
    const { memoryBytes, cpuPercent, tasks } = this.#limits;
    // A launch that was started before on another port may have left its scope for a moment.
    const unit = `${this.#nameOf(paths)}-${randomBytes(3).toString("hex")}`;
    const properties = [
      `MemoryMax=${memoryBytes}`,
      `CPUQuota=${cpuPercent}%`,
      `TasksMax=${tasks}`,
      "OOMPolicy=continue",
    ];
    const options = ["--scope", "--quiet", "--collect", `--unit=${unit}`, "--slice=drover.slice"];
    return [
      this.#way.systemdRun,
      ...options,
      ...properties.map((property) => `--property=${property}`),
      "--",
      ...command,
    ];
  }

  /**
   * Takes a process that was started in this very moment, and all that it will start, under its limits. Nothing else
   * runs between its start and this, so that it has done nothing yet. Throws the system's own errors.
   */
  enter(pid: number, paths: VmPaths): void {
    if (this.#way.kind !== "cgroup") return;
    const dir = join(this.#way.base, this.#nameOf(paths));
    try {
      mkdirSync(dir);
    } catch (error) {
      if (errnoOf(error) !== "EEXIST") throw error; // of a launch that was started before on another port
    }
    const { memoryBytes, cpuPercent, tasks } = this.#limits;
    writeFileSync(join(dir, "memory.max"), String(memoryBytes));
    writeFileSync(join(dir, "cpu.max"), `${(cpuPercent / 100) * CPU_PERIOD_US} ${CPU_PERIOD_US}`);
    writeFileSync(join(dir, "pids.max"), String(tasks));
    writeFileSync(join(dir, "cgroup.procs"), String(pid));
  }

  /** Deletes the cgroups in which no process is left, also those of a worker before this one. Never throws. */
  sweep(): void {
    if (this.#way.kind !== "cgroup") return;
    const { base } = this.#way;
    for (const name of namesIn(base).filter((found) => found.startsWith(this.#prefix))) {
      try {
        rmdirSync(join(base, name));
      } catch {
        // Somebody lives there, or it has gone in this moment; what is left over is looked at again.
      }
    }
  }

  #nameOf({ dir }: VmPaths): string {
    return `${this.#prefix}${basename(dirname(dir))}-${basename(dir)}`;
  }
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // whoever is to enter a cgroup there will say what is wrong
  }
}
