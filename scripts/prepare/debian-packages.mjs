import { existsSync, readdirSync } from "node:fs";
import { hasPackageLists, rootPrefix, runAsRoot, updatePackageLists } from "../../guest/build/apt.mjs";
import { findCommand } from "../../guest/build/command.mjs";

/** What drover needs from the system: how to see that it is there, and the Debian package that brings it. */
const NEEDED = [
  { what: "qemu-system-x86_64", packageName: "qemu-system-x86" },
  { what: "qemu-img", packageName: "qemu-utils" },
  { what: "redis-server", packageName: "redis-server" },
  { what: "busybox", packageName: "busybox-static" },
  { what: "UEFI firmware in /usr/share/OVMF", packageName: "ovmf", present: hasFirmware },
];

/**
 * What only the tests need: certificates are made with openssl, QEMU is run by sudo, units are checked by systemd's own
 * tool, alerts by Prometheus's, and pages are looked at in Chromium. All but the first serve tests that say why they are
 * skipped where the program is not there; without root nobody is asked to install them.
 */
const NEEDED_BY_TESTS = [
  { what: "openssl", packageName: "openssl" },
  ...[
    { what: "sudo", packageName: "sudo" },
    { what: "systemd-analyze", packageName: "systemd" },
    { what: "promtool", packageName: "prometheus" },
    { what: "chromium", packageName: "chromium" },
  ].map((part) => ({ ...part, present: () => !isRoot() || findCommand(part.what) !== undefined })),
];

/**
 * Everything missing, whoever installed the rest: from packages, by hand, or below /usr/local.
 * @param {{ forTests?: boolean }} [options]
 */
export function missingSystemParts({ forTests = false } = {}) {
  const needed = forTests ? [...NEEDED, ...NEEDED_BY_TESTS] : NEEDED;
  return needed.filter(({ what, present = () => findCommand(what) !== undefined }) => !present());
}

/** @param {readonly { what: string, packageName: string }[]} parts */
export async function installSystemParts(parts) {
  const names = parts.map(({ packageName }) => packageName);
  if (findCommand("apt-get") === undefined) {
    const list = parts.map(({ what, packageName }) => `${what} (in Debian: ${packageName})`);
    throw new Error(`missing on this machine, please install: ${list.join(", ")}`);
  }
  const prefix = await rootPrefix();
  if (prefix === undefined) {
    const line = `sudo apt-get install -y --no-install-recommends ${names.join(" ")}`;
    throw new Error(`system packages are missing. Run: ${hasPackageLists() ? line : `sudo apt-get update && ${line}`}`);
  }
  if (!hasPackageLists()) await updatePackageLists();
  const install = () => runAsRoot(prefix, ["sh", "-c", INSTALL, "install", ...names]);
  await install().catch(async () => {
    // The usual reason: the lists are older than the mirror, which has newer files by now.
    await updatePackageLists();
    await install();
  });
}

/**
 * Debian starts the service of a package when it is installed. drover runs its own private redis-server, so a second
 * one on the standard port would only be in somebody's way: policy-rc.d forbids the start while apt runs, and the
 * service is left switched off. A policy that was there before stays untouched.
 */
const INSTALL = `
policy=/usr/sbin/policy-rc.d mark='written by the set-up of drover, which removes it'
if [ ! -e $policy ] || grep -qs "$mark" $policy; then
  trap 'rm -f $policy' EXIT
  trap 'exit 130' HUP INT TERM
  printf '#!/bin/sh\\n# %s\\nexit 101\\n' "$mark" >$policy
  chmod 755 $policy
fi
apt-get -y -qq --no-install-recommends install "$@" || exit
for service in redis-server prometheus; do
  case " $* " in
    *" $service "*) update-rc.d "$service" disable || true ;;
  esac
done
`;

function isRoot() {
  return process.getuid?.() === 0;
}

function hasFirmware() {
  const folder = "/usr/share/OVMF";
  return existsSync(folder) && readdirSync(folder).some((name) => /^OVMF_CODE.*\.fd$/.test(name));
}
