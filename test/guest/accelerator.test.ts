import { accessSync, constants } from "node:fs";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { waitFor } from "../helpers/wait-for.ts";
import { guestImage } from "./demo-machine.ts";

interface Choice {
  readonly accel: "kvm" | "tcg";
  readonly reason: string;
}
type Choose = (options: { guestDir: string; stateDir: string; qemu: string }) => Promise<Choice>;

// A plain JavaScript file without declarations: the URL keeps the compiler from looking for them.
const accelerator = new URL("../../scripts/accelerator.mjs", import.meta.url).href;
const { chooseAccelerator } = (await import(accelerator)) as { chooseAccelerator: Choose };

/** A program that takes the place of QEMU and does what `script` says when it is asked to start a machine. */
async function standIn(script: string) {
  const folder = await mkdtemp(join(tmpdir(), "drover-accelerator-"));
  const qemu = join(folder, "qemu");
  const version = 'if [ "$1" = --version ]; then echo "QEMU emulator version 0"; exit; fi';
  await writeFile(qemu, `#!/bin/sh\n${version}\necho $$ >>${folder}/started\n${script}\n`);
  await chmod(qemu, 0o755);
  const guestDir = await guestImage();
  return {
    choose: () => chooseAccelerator({ guestDir, stateDir: join(folder, "state"), qemu }),
    started: async () => (await readFile(join(folder, "started"), "utf8")).trim().split("\n").map(Number),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

const whyNotHere = (() => {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
    return undefined;
  } catch {
    return "this machine offers no /dev/kvm, so that a trial is never made";
  }
})();

test("KVM is chosen when the demo guest has really booted, and no machine stays behind", async ({ skip }) => {
  if (whyNotHere !== undefined) skip(whyNotHere);
  await using qemu = await standIn('echo "drover-guest: exit code 0"; exec sleep 60');
  expect(await qemu.choose()).toEqual({ accel: "kvm", reason: "the demo guest booted under it" });
  const [pid = 0] = await qemu.started();
  await waitFor(() => !isAlive(pid), { what: "the end of the trial" });
});

test("TCG is chosen with QEMU's own words when the trial fails, and the outcome is remembered", async ({ skip }) => {
  if (whyNotHere !== undefined) skip(whyNotHere);
  await using qemu = await standIn("echo 'qemu: failed to initialize kvm: Operation not permitted' >&2; exit 1");
  const first = await qemu.choose();
  expect(first.accel).toBe("tcg");
  expect(first.reason).toContain("QEMU ended with 1: qemu: failed to initialize kvm: Operation not permitted");
  const second = await qemu.choose();
  expect(second.accel).toBe("tcg");
  expect(second.reason).toContain("tried before");
  expect(await qemu.started()).toHaveLength(1);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
