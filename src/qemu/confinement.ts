import type { SystemUser } from "../runtime/system-user.ts";

/** What QEMU keeps of root's rights under sudo: to open devices and files that are root's, and to lock memory (VFIO). */
const KEPT_CAPABILITIES = ["dac_override", "ipc_lock"] as const;

/**
 * With whose rights QEMU runs.
 * - `own`: the worker's.
 * - `user`: another user's; the worker is root.
 * - `sudo`: the worker's user still, and on top the rights to open devices and to lock memory. So signals, sockets and
 *   files of QEMU are the worker's as ever; root itself QEMU never is.
 */
export type Confinement =
  | { readonly kind: "own" }
  | { readonly kind: "user"; readonly user: SystemUser; readonly setpriv: string }
  | { readonly kind: "sudo"; readonly self: SystemUser; readonly sudo: string; readonly setpriv: string };

export const OWN_RIGHTS: Confinement = { kind: "own" };

/**
 * The command that runs `command` (an absolute path and its arguments) with these rights. Pure. Each program in front
 * replaces itself by the next one, so that the pid stays; only sudo stays beside it, as its parent.
 */
export function confinedCommand(confinement: Confinement, command: readonly string[]): readonly string[] {
  switch (confinement.kind) {
    case "own":
      return command;
    case "user": {
      const { setpriv, user } = confinement;
      return [setpriv, ...identityOf(user), ...capabilities("-all"), "--no-new-privs", "--", ...command];
    }
    case "sudo":
      return [confinement.sudo, "-n", "--", ...sudoCommand(confinement), ...command];
  }
}

/** What sudo is asked to run, up to QEMU's path: the text that a rule in sudoers has to allow. Pure. */
export function sudoCommand({ setpriv, self }: Extract<Confinement, { kind: "sudo" }>): readonly string[] {
  const kept = ["-all", ...KEPT_CAPABILITIES.map((name) => `+${name}`)].join(",");
  return [setpriv, ...identityOf(self), ...capabilities(kept), "--"];
}

/** The line for sudoers that allows QEMU this way and nothing else. Pure. */
export function sudoersLine(confinement: Extract<Confinement, { kind: "sudo" }>, qemuPath: string): string {
  // In sudoers a comma ends a command, and = and : have their meaning, too.
  const command = [...sudoCommand(confinement), qemuPath].map((word) => word.replace(/[,:=\\]/g, "\\$&")).join(" ");
  return `${confinement.self.name} ALL=(root) NOPASSWD: ${command} *`;
}

/** Supplementary groups come with the user: /dev/kvm is for group kvm. */
function identityOf({ uid, gid }: SystemUser): readonly string[] {
  return [`--reuid=${uid}`, `--regid=${gid}`, "--init-groups"];
}

function capabilities(set: string): readonly string[] {
  return [`--inh-caps=${set}`, `--ambient-caps=${set}`, `--bounding-set=${set}`];
}
