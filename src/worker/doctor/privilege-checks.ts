import { dirname } from "node:path";
import { DroverError } from "../../contract/errors.ts";
import { refusedTo } from "../../qemu/access-as-user.ts";
import type { Confinement } from "../../qemu/confinement.ts";
import { findConfinement, sudoProblem } from "../../qemu/find-confinement.ts";
import { findLimitWay } from "../../qemu/find-limit-way.ts";
import { qemuLimits } from "../../qemu/qemu-limits.ts";
import type { Config } from "../../runtime/config-shape.ts";
import type { Check } from "./check.ts";

const MIB = 1024 ** 2;

/**
 * As whom and with how much QEMU runs here. `files` are those that every VM boots from, `devices` those that it opens
 * beside /dev/kvm; all of them are there, and what the worker itself cannot read is said elsewhere. Changes nothing.
 */
export async function privilegeChecks(config: Config, needed: NeededPaths): Promise<readonly Check[]> {
  return [...(await userChecks(config, needed)), limitCheck(config)];
}

interface NeededPaths {
  readonly files: readonly string[];
  readonly devices: readonly string[];
}

async function userChecks(config: Config, { files, devices }: NeededPaths): Promise<readonly Check[]> {
  let confinement: Confinement;
  try {
    confinement = await findConfinement(config);
  } catch (error) {
    if (!(error instanceof DroverError)) throw error;
    return [problem("qemu_user", error.message, "The worker does not start before that is mended.")];
  }
  if (confinement.kind === "own") {
    if (process.getuid?.() !== 0) return [];
    const text = "QEMU runs as root: a guest that breaks out of it has the whole machine";
    return [warning("qemu_user", text, "Set DROVER_QEMU_USER (docs/hardening.md), or run the worker without root.")];
  }
  if (confinement.kind === "sudo") {
    const refused = await sudoProblem(confinement, config.qemu.binPath);
    return [
      refused === undefined
        ? ok("sudo", "sudo starts QEMU for this user")
        : problem("sudo", refused.problem, refused.todo),
    ];
  }
  const { name } = confinement.user;
  const refused = await refusedTo(confinement, [
    ...files.map((path) => ({ path, access: "-r" as const })),
    ...[...(config.qemu.enableKvm ? ["/dev/kvm"] : []), ...devices].map((path) => ({ path, access: "-w" as const })),
    { path: dirname(config.stateDir), access: "-x" as const },
  ]);
  if (refused.length === 0) return [ok("qemu_user", `QEMU runs as ${name}, who may read what VMs need`)];
  return refused.map((path) =>
    problem(
      "qemu_user",
      `QEMU runs as ${name}, who may not use ${path}`,
      path === "/dev/kvm"
        ? `usermod -aG kvm ${name}`
        : `\`namei -l ${path}\` shows which directory or file on the way is closed to ${name}.`,
    ),
  );
}

function limitCheck(config: Config): Check {
  try {
    const way = findLimitWay(config.qemuProcess, "look");
    if (way.kind === "off") {
      return config.qemuProcess.limits === "off"
        ? ok("limits", "QEMU has no limits of memory and processors, as set")
        : warning(
            "limits",
            `QEMU has no limits of memory and processors: ${way.reason ?? ""}`,
            "docs/hardening.md says what a unit needs; DROVER_QEMU_LIMITS=off ends this warning.",
          );
    }
    const { memoryBytes, cpuPercent } = qemuLimits(config);
    return ok(
      "limits",
      `a QEMU gets ${memoryBytes / MIB} MiB and ${cpuPercent / 100} processors at most (${way.kind})`,
    );
  } catch (error) {
    if (!(error instanceof DroverError)) throw error;
    return problem("limits", error.message, "The worker does not start before that is mended.");
  }
}

function ok(id: string, text: string): Check {
  return { id, area: "host", status: "ok", text };
}

function warning(id: string, text: string, todo: string): Check {
  return { id, area: "host", status: "warning", text, todo };
}

function problem(id: string, text: string, todo: string): Check {
  return { id, area: "host", status: "problem", text, todo };
}
