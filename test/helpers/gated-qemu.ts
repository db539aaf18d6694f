import { execFileSync } from "node:child_process";
import { chmodSync, closeSync, constants, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { waitFor } from "./wait-for.ts";

/** A program that becomes QEMU, but only once the test lets it: a launch can be held where a test needs it. */
export interface GatedQemu extends Disposable {
  /** For MANAGER_QEMU_BIN_PATH. */
  readonly binPath: string;
  /** Launches from now on wait at the gate. */
  close(): void;
  /** Lets the one that waits, and all that come, become QEMU. Waits until one stands at the gate. */
  open(): Promise<void>;
  /** As `open`, where nobody waits any more. */
  lift(): void;
}

export function makeGatedQemu(): GatedQemu {
  const dir = mkdtempSync(join(tmpdir(), "drv-gate-"));
  const binPath = join(dir, "qemu");
  const gate = join(dir, "gate");
  // Opening a FIFO waits for its other end, so the gate costs no polling. QEMU then has the same pid and command line.
  writeFileSync(
    binPath,
    `#!/bin/sh\n[ "$1" = -version ] || [ ! -p '${gate}' ] || read -r _ <'${gate}'\nexec qemu-system-x86_64 "$@"\n`,
  );
  chmodSync(binPath, 0o755);
  return {
    binPath,
    close() {
      if (!existsSync(gate)) execFileSync("mkfifo", [gate]);
    },
    async open() {
      // ENXIO until somebody waits at the other end.
      const fd = await waitFor(() => ({ fd: openSync(gate, constants.O_WRONLY | constants.O_NONBLOCK) }), {
        what: "a QEMU at the gate",
      });
      rmSync(gate);
      closeSync(fd.fd);
    },
    lift: () => rmSync(gate, { force: true }),
    [Symbol.dispose]() {
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
