import type { Check } from "./check.ts";
import { gpuChecks } from "./gpu-checks.ts";
import type { HostFacts } from "./host-facts.ts";
import { placementChecks } from "./placement-checks.ts";
import { teeChecks } from "./tee-checks.ts";

const GIB = 1024 ** 3;
/** With less, a launch is likely to fail; with much less it does. */
const SPACE_LOW_BYTES = 5 * GIB;
const SPACE_NONE_BYTES = GIB / 4;
const INODES_LOW = 10_000;
/** drover is tested with this one; older ones lack options that it uses. */
const QEMU_TESTED = 7.2;
/** DROVER_QEMU_USER may pass through, and see nothing. */
const PASSABLE = 0o711;
const PORTS_SHOWN = 8;

/** Pure: a host's facts, judged. */
export function hostChecks(facts: HostFacts): readonly Check[] {
  return [
    kvmCheck(facts),
    ...teeChecks(facts.tee),
    ...gpuChecks(facts.gpu),
    ...fileChecks(facts),
    ...qemuChecks(facts),
    ...stateDirChecks(facts),
    ...placementChecks(facts.placement),
    portsCheck(facts),
  ];
}

function kvmCheck({ kvm: { wanted, usable, errno, givenUp } }: HostFacts): Check {
  if (wanted && usable && givenUp !== undefined) {
    return warning("kvm", `KVM opens, but ${givenUp}`, "Set MANAGER_QEMU_ENABLE_KVM=false where guests hang under it.");
  }
  if (!wanted) {
    return usable && givenUp === undefined
      ? warning("kvm", "VMs run without KVM, though this host has it", "Set MANAGER_QEMU_ENABLE_KVM=true for speed.")
      : ok("kvm", "VMs run without KVM, as set (TCG: slow)");
  }
  if (usable) return ok("kvm", "KVM is there for this user");
  return errno === "ENOENT"
    ? problem(
        "kvm",
        "there is no /dev/kvm",
        "Switch virtualisation on (firmware, or nesting), or set MANAGER_QEMU_ENABLE_KVM=false.",
      )
    : problem("kvm", `this user may not use /dev/kvm (${errno})`, "sudo usermod -aG kvm USER, then log in again.");
}

function fileChecks({ files }: HostFacts): readonly Check[] {
  const bad = files.filter(({ errno }) => errno !== undefined);
  if (bad.length === 0) return [ok("boot_files", `the ${files.length} files that VMs boot from are readable`)];
  return bad.map(({ path, setBy, errno }) =>
    problem(
      "boot_files",
      errno === "ENOENT" ? `${path} is not there` : `${path} cannot be read (${errno})`,
      `It is set by ${setBy}.`,
    ),
  );
}

function qemuChecks({ qemu, qemuImg }: HostFacts): readonly Check[] {
  const checks: Check[] = [];
  if (qemu.version === undefined) {
    checks.push(
      problem(
        "qemu",
        `QEMU cannot be run: ${qemu.problem ?? ""}`,
        "Install qemu-system-x86, or set MANAGER_QEMU_BIN_PATH.",
      ),
    );
  } else if (qemu.missing.length > 0) {
    checks.push(
      problem(
        "qemu",
        `QEMU ${qemu.version} lacks ${qemu.missing.join(", ")}`,
        "Take your distribution's full qemu-system-x86.",
      ),
    );
  } else if (Number.parseFloat(qemu.version) < QEMU_TESTED) {
    checks.push(
      warning("qemu", `QEMU is of version ${qemu.version}`, `drover is tested with ${QEMU_TESTED} and newer.`),
    );
  } else {
    checks.push(ok("qemu", `QEMU ${qemu.version} has all that drover uses`));
  }
  if (qemuImg !== undefined && qemuImg.version === undefined) {
    checks.push(
      problem(
        "qemu_img",
        `qemu-img cannot be run: ${qemuImg.problem ?? ""}`,
        "Install qemu-utils: VMs' disks are made with it.",
      ),
    );
  }
  return checks;
}

function stateDirChecks({ stateDir }: HostFacts): readonly Check[] {
  const { path, exists, mode, isOurs, isWritable, freeBytes, freeInodes } = stateDir;
  const free = `${(freeBytes / GIB).toFixed(1)} GiB`;
  const checks: Check[] = [];
  if (!isWritable) {
    checks.push(
      problem(
        "state_dir",
        `${path} cannot be ${exists ? "written" : "made"} by this user`,
        "Make it this user's, or set DROVER_STATE_DIR.",
      ),
    );
  } else if (!isOurs) {
    checks.push(problem("state_dir", `${path} belongs to another user`, "Give it to the user that runs the worker."));
  } else if ((mode & ~PASSABLE & 0o777) !== 0) {
    const text = `others may enter ${path} (mode ${mode.toString(8).padStart(4, "0")})`;
    checks.push(problem("state_dir", text, `chmod 700 ${path}: it holds VMs' secrets.`));
  } else {
    checks.push(ok("state_dir", `${path} is for this user only`));
  }
  const room = "Make room, or move DROVER_STATE_DIR.";
  if (freeBytes < SPACE_NONE_BYTES) checks.push(problem("disk_space", `${free} are free in ${path}`, room));
  else if (freeBytes < SPACE_LOW_BYTES) checks.push(warning("disk_space", `${free} are free in ${path}`, room));
  else if (freeInodes !== undefined && freeInodes < INODES_LOW)
    checks.push(warning("disk_space", `${freeInodes} inodes are free in ${path}`, "Delete small files there."));
  else checks.push(ok("disk_space", `${free} are free for VMs' files`));
  return checks;
}

function portsCheck({ ports: { total, foreign } }: HostFacts): Check {
  if (foreign.length === 0) return ok("ports", `${total} ports for VMs, none held by other programs`);
  const shown = `${foreign.slice(0, PORTS_SHOWN).join(", ")}${foreign.length > PORTS_SHOWN ? ", ..." : ""}`;
  const text = `other programs hold ${foreign.length} of ${total} ports for VMs: ${shown}`;
  const todo = "`ss -ltnp` names them. Stop them, or move MANAGER_QEMU_HOST_FWD_RANGE; drover takes the other ports.";
  return foreign.length < total ? warning("ports", text, todo) : problem("ports", text, todo);
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
