import { readFileSync } from "node:fs";
import { execa } from "execa";
import { DroverError } from "../contract/errors.ts";
import type { Config } from "../runtime/config-shape.ts";
import { findProgram } from "../runtime/find-program.ts";
import { findUser } from "../runtime/system-user.ts";
import { type Confinement, OWN_RIGHTS, sudoCommand, sudoersLine } from "./confinement.ts";
import { childEnvironment } from "./qemu-process.ts";

const ANSWER_MS = 10_000;
/** Where Debian has them; only for the message where there are none. */
const USUAL = { setpriv: "/usr/bin/setpriv", sudo: "/usr/bin/sudo" } as const;

/** Who asks: the worker's own user, unless a test says otherwise. */
export interface Asker {
  readonly uid: number;
}

/**
 * With whose rights this host runs QEMU, by DROVER_QEMU_USER and MANAGER_QEMU_USE_SUDO. Throws DroverError
 * `config_invalid` for a user that is not there, is root, or needs a worker that is root. Whether sudo does what it is
 * asked for shows `sudoProblem`.
 */
export async function findConfinement(
  { qemuProcess, qemu }: Pick<Config, "qemuProcess" | "qemu">,
  { uid }: Asker = { uid: process.getuid?.() ?? 0 },
): Promise<Confinement> {
  if (qemuProcess.user !== undefined) return ofUser(qemuProcess.user, uid);
  // Root gains nothing by sudo.
  if (!qemu.useSudo || uid === 0) return OWN_RIGHTS;
  const self = await findUser(String(uid));
  if (self === undefined) {
    throw invalid(
      `MANAGER_QEMU_USE_SUDO is on, and this machine has no user with the worker's number ${uid}`,
      "give the worker a user that is in the system's list",
    );
  }
  return { kind: "sudo", self, sudo: program("sudo") ?? USUAL.sudo, setpriv: program("setpriv") ?? USUAL.setpriv };
}

async function ofUser(name: string, uid: number): Promise<Confinement> {
  const shown = `DROVER_QEMU_USER="${name}"`;
  const user = await findUser(name);
  if (user === undefined) {
    throw invalid(
      `${shown} is no user of this machine`,
      `make it (useradd --system --groups kvm ${name}) or name another`,
    );
  }
  if (user.uid === 0) throw invalid(`${shown} is root`, "name a user without rights, or unset it");
  if (user.uid === uid) return OWN_RIGHTS; // the worker is this user already
  if (uid !== 0) {
    throw invalid(
      `${shown} needs a worker that is root`,
      `run the worker as root, or run the worker itself as ${name} (User= of its unit) and unset DROVER_QEMU_USER`,
    );
  }
  const setpriv = program("setpriv");
  if (setpriv === undefined) throw invalid(`${shown} needs the program setpriv`, "install util-linux");
  return { kind: "user", user, setpriv };
}

/**
 * Why sudo will not start QEMU for this worker, and what mends it; undefined when it will, and where sudo is not asked
 * for. Starts nothing. `status` is the text of /proc/self/status.
 */
export async function sudoProblem(
  confinement: Confinement,
  binPath: string,
  status = readFileSync("/proc/self/status", "latin1"),
): Promise<{ readonly problem: string; readonly todo: string } | undefined> {
  if (confinement.kind !== "sudo") return undefined;
  const unset = "or set MANAGER_QEMU_USE_SUDO=false and put the worker's user into group kvm";
  if (/^NoNewPrivs:\s*1$/m.test(status)) {
    return {
      problem: "this process may not gain rights (NoNewPrivileges), so that sudo cannot work",
      todo: `Set NoNewPrivileges=no in the worker's unit (systemctl edit drover-worker), ${unset}.`,
    };
  }
  if (program("sudo") === undefined) return { problem: "there is no sudo", todo: `Install sudo, ${unset}.` };
  if (program("setpriv") === undefined) return { problem: "there is no setpriv", todo: "Install util-linux." };
  const qemuPath = program(binPath);
  if (qemuPath === undefined) return undefined; // said elsewhere
  const ask = ["-n", "-l", "--", ...sudoCommand(confinement), qemuPath, "-version"];
  const allowed = await execa(confinement.sudo, ask, {
    stdin: "ignore",
    reject: false,
    timeout: ANSWER_MS,
    extendEnv: false,
    env: childEnvironment(),
  });
  if (!allowed.failed) return undefined;
  const said = allowed.stderr.trim().split("\n").at(-1) ?? "";
  return {
    problem: `sudo does not let ${confinement.self.name} start QEMU without a password${said === "" ? "" : ` (${said})`}`,
    todo: `With visudo -f /etc/sudoers.d/drover add: ${sudoersLine(confinement, qemuPath)}`,
  };
}

function program(name: string): string | undefined {
  return findProgram(name, childEnvironment()["PATH"] ?? "");
}

function invalid(what: string, wayOut: string): DroverError {
  return new DroverError("config_invalid", `${what}: ${wayOut}`);
}
