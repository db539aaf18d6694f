import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A program that becomes QEMU without the GPU that its command line gives it: no test machine has one. */
export interface GpuQemu extends Disposable {
  /** For MANAGER_QEMU_BIN_PATH. */
  readonly binPath: string;
  /** From now on a QEMU that is given the GPU ends as one does that finds it in use. */
  occupy(): void;
  free(): void;
}

export function makeGpuQemu(): GpuQemu {
  const dir = mkdtempSync(join(tmpdir(), "drv-gpu-"));
  const binPath = join(dir, "qemu");
  const busy = join(dir, "busy");
  // Each word is passed on but the device itself; the root port before it and the fw_cfg file behind it harm nobody.
  const script = `#!/bin/sh
count=$#
while [ $count -gt 0 ]; do
  word=$1; shift; count=$((count - 1))
  case "$word \${1-}" in
    "-device vfio-pci,"*)
      if [ -e '${busy}' ]; then
        echo "qemu-system-x86_64: $word $1: vfio 0000:41:00.0: failed to open /dev/vfio/12: Device or resource busy" >&2
        exit 1
      fi
      shift; count=$((count - 1)) ;;
    *) set -- "$@" "$word" ;;
  esac
done
exec qemu-system-x86_64 "$@"
`;
  writeFileSync(binPath, script);
  chmodSync(binPath, 0o755);
  return {
    binPath,
    occupy: () => writeFileSync(busy, ""),
    free: () => rmSync(busy, { force: true }),
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  };
}
