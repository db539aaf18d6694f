import { randomUUID } from "node:crypto";
import {
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { sudoersLine } from "../../src/qemu/confinement.ts";
import { findConfinement } from "../../src/qemu/find-confinement.ts";
import { findByUuid } from "../../src/qemu/process-scan.ts";
import { loadConfig } from "../../src/runtime/config/load-config.ts";
import { waitFor } from "../helpers/wait-for.ts";

/** A user without rights who is on every Debian; the worker of these tests. */
const WORKER = { name: "daemon", uid: 1 };
const DRIVER = fileURLToPath(new URL("support/sudo-driver.ts", import.meta.url));
const QEMU = "/usr/bin/qemu-system-x86_64";
const RULE = `/etc/sudoers.d/drover-test-${process.pid}`;

const reason =
  process.getuid?.() !== 0
    ? "only root can set up sudo for a user without rights"
    : ["/usr/bin/sudo", "/usr/bin/setpriv", QEMU, "/etc/sudoers.d"]
        .filter((path) => !existsSync(path))
        .map((path) => `${path} is not there`)[0];

let stateDir: string;
let vmId: string;

beforeEach(({ skip }) => {
  if (reason !== undefined) skip(reason);
  vmId = randomUUID();
  stateDir = mkdtempSync(join(tmpdir(), "dq-sudo-"));
  chownSync(stateDir, WORKER.uid, WORKER.uid);
});
afterEach(() => {
  for (const { pid } of findByUuid(vmId)) process.kill(pid, "SIGKILL");
  rmSync(stateDir, { recursive: true, force: true });
});
afterAll(() => rmSync(RULE, { force: true }));

/** The rule that doctor prints, and nothing else: it must be enough. */
async function allow(): Promise<void> {
  const { config } = loadConfig({ HOME: "/", MANAGER_QEMU_USE_SUDO: "true" });
  const confinement = await findConfinement(config, { uid: WORKER.uid });
  if (confinement.kind !== "sudo") throw new Error("sudo is not used");
  // Newer versions of sudo have use_pty on by themselves.
  const text = `Defaults:${WORKER.name} use_pty\n${sudoersLine(confinement, QEMU)}\n`;
  writeFileSync(RULE, text, { mode: 0o440 });
}

beforeAll(async () => {
  if (reason === undefined) await allow();
});

/** Runs the driver as a worker of that user would run, and gives what it says. */
async function asWorker(args: readonly string[], flags: readonly string[] = []): Promise<Record<string, unknown>> {
  const as = [`--reuid=${WORKER.uid}`, `--regid=${WORKER.uid}`, "--init-groups", ...flags, "--"];
  const { stdout } = await execa("setpriv", [...as, process.execPath, "--import", "tsx", DRIVER, ...args], {
    env: { HOME: stateDir, TMPDIR: stateDir },
  });
  return JSON.parse(stdout);
}

function statusOf(pid: number): Record<string, string> {
  const lines = readFileSync(`/proc/${pid}/status`, "latin1").split("\n");
  return Object.fromEntries(lines.map((line) => [line.split(":")[0] ?? "", line.slice(line.indexOf("\t") + 1)]));
}

test.each(["sigterm", "sigkill"] as const)(
  "under sudo QEMU has the worker's user, is known by its own pid, is taken over and ended by %s",
  async (rung) => {
    const started = await asWorker(["start", stateDir, vmId]);
    const [qemu, ...more] = findByUuid(vmId);
    expect(more, "sudo stays beside it and is no VM").toEqual([]);
    expect(started).toMatchObject({ pid: qemu?.pid, startTimeTicks: qemu?.startTimeTicks, found: [{ uuid: vmId }] });
    const status = statusOf(qemu?.pid ?? 0);
    expect(status["Uid"]?.split("\t")).toEqual(Array(4).fill(String(WORKER.uid)));
    expect(status).toMatchObject({ NoNewPrivs: "1", Seccomp: "2", CapEff: "0000000000004002" });
    const sudo = Number(status["PPid"]);
    expect(readFileSync(`/proc/${sudo}/cmdline`, "latin1")).toMatch(/^\/usr\/bin\/sudo\0-n\0--\0/);
    const dir = join(stateDir, "vms", vmId, "1");
    for (const name of readdirSync(dir)) {
      const { uid, mode } = statSync(join(dir, name));
      expect({ name, uid, mode: mode & 0o077 }).toEqual({ name, uid: WORKER.uid, mode: 0 });
    }

    expect(await asWorker(["stop", stateDir, vmId, rung])).toMatchObject({ rung, left: [] });
    await waitFor(() => !existsSync(`/proc/${sudo}`), { what: "sudo to end with its QEMU" });
  },
);

test("a sudo that refuses is said so beforehand, and is the host's fault", async () => {
  rmSync(RULE);
  try {
    const [asked, started] = await Promise.all([
      asWorker(["ask", stateDir, vmId]),
      asWorker(["start", stateDir, vmId]),
    ]);
    expect(asked["problem"]).toMatch(/^sudo does not let daemon start QEMU without a password \(sudo: a password/);
    expect(started).toMatchObject({ failure: { code: "privileges_missing" } });
  } finally {
    await allow();
  }
});

test("a unit whose NoNewPrivileges forbids sudo is told from a rule that is missing", async () => {
  const [asked, started, allowed] = await Promise.all([
    asWorker(["ask", stateDir, vmId], ["--no-new-privs"]),
    asWorker(["start", stateDir, vmId], ["--no-new-privs"]),
    asWorker(["ask", stateDir, vmId]),
  ]);
  expect(asked["problem"]).toMatch(/NoNewPrivileges/);
  expect(started).toMatchObject({
    failure: { code: "privileges_missing", message: expect.stringMatching(/no new privileges/) },
  });
  expect(allowed).toEqual({ problem: null });
});
