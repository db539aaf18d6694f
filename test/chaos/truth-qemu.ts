import { chmodSync, existsSync, openSync, readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { writeRom } from "../qemu/support/rom-guest.ts";
import type { Recorder } from "./history.ts";

/** What a VM's QEMU does; the request says it, so that it is the same wherever and whenever the VM is launched. */
export type GuestMode = "patient" | "brief" | "poweroff" | "panic" | "exit" | "slow" | "fake-deaf" | "fake-dies-with-3";

const ROMS = ["patient", "brief", "poweroff", "panic"] as const;
const FAKE = join(import.meta.dirname, "../fixtures/fake-qemu.mjs");

export interface TruthQemu {
  /** Variables of a worker whose VMs are started by this program. */
  readonly env: Readonly<Record<string, string>>;
  /** Notes launches that were logged since the last call. */
  collect(recorder: Recorder): void;
}

/** The mode of a VM stands in a field of the request that reaches QEMU's command line: the end of its KBS parameters. */
export function modeField(mode: GuestMode): string {
  return `/chaos/${mode}`;
}

/**
 * A program that drover starts as QEMU. It writes down that it was started, with pid and name, and then becomes the real
 * QEMU with the guest that the request asks for, or something that fails as the request asks for. A shell costs two
 * milliseconds and no memory; Node would cost a hundred and 40 MB.
 */
export async function makeTruthQemu(dir: string, hostOf: (pidFile: string) => string | undefined): Promise<TruthQemu> {
  const log = join(dir, "launches.log");
  const program = join(dir, "truth-qemu");
  const roms = join(dir, "roms");
  writeFileSync(log, "");
  writeFileSync(program, SCRIPT.replaceAll("@LOG@", log).replaceAll("@ROMS@", dir).replaceAll("@FAKE@", FAKE));
  chmodSync(program, 0o755);
  for (const guest of ROMS) await writeRom(join(dir, `${guest}.rom`), guest);
  const fd = openSync(log, "r");
  const offsetMs = uptimeOffsetMs();
  let rest = "";
  let at = 0;
  return {
    env: { MANAGER_QEMU_BIN_PATH: program, MANAGER_QEMU_MACHINE: `q35,firmware=${join(dir, "patient.rom")}` },
    collect(recorder) {
      if (!existsSync(log)) throw new Error(`${roms} is gone`);
      const chunk = Buffer.alloc(1 << 16);
      for (
        let size = readSync(fd, chunk, 0, chunk.length, at);
        size > 0;
        size = readSync(fd, chunk, 0, chunk.length, at)
      ) {
        at += size;
        rest += chunk.toString("latin1", 0, size);
      }
      const lines = rest.split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const [uptime = "", pid = "", name = "", pidFile = "", mode = ""] = line.split("|");
        const parsed = parseName(name);
        if (parsed === undefined) continue;
        const t = Number(uptime) * 1000 + offsetMs;
        const host = hostOf(pidFile) ?? "unknown";
        recorder.add(
          "launch",
          { pid: Number(pid), host, epoch: parsed.epoch, mode },
          { process: "qemu", vmId: parsed.vmId, t },
        );
      }
    },
  };
}

/** `drover-<vmId>-<epoch>`, as drover names its QEMUs. */
export function parseName(name: string): { readonly vmId: string; readonly epoch: number } | undefined {
  const parts = /^drover-([0-9a-f-]{36})-(\d+)$/.exec(name);
  return parts === null ? undefined : { vmId: parts[1] ?? "", epoch: Number(parts[2]) };
}

/** /proc/uptime counts as CLOCK_MONOTONIC does, except on machines that were suspended. */
function uptimeOffsetMs(): number {
  const buffer = Buffer.alloc(64);
  const fd = openSync("/proc/uptime", "r");
  const size = readSync(fd, buffer, 0, buffer.length, 0);
  const nowMs = Number(process.hrtime.bigint() / 1000n) / 1000;
  const differenceMs = nowMs - Number(buffer.toString("latin1", 0, size).split(" ")[0]) * 1000;
  return Math.abs(differenceMs) < 20 ? 0 : differenceMs;
}

// One line per launch is appended at once, which the kernel does not mix with others'.
const SCRIPT = `#!/bin/sh
name= pidfile= mode= before=
for arg do
  case $before in
    -name) name=$arg ;;
    -pidfile) pidfile=$arg ;;
    -append) case $arg in */chaos/*) mode=\${arg##*/chaos/} mode=\${mode%% *} ;; esac ;;
  esac
  before=$arg
done
read -r uptime _ </proc/uptime
echo "$uptime|$$|$name|$pidfile|$mode" >>'@LOG@'
guest=patient
case $mode in
  exit) echo 'qemu: something broke' >&2; exit 1 ;;
  fake-*) exec node '@FAKE@' -fake "\${mode#fake-}" "$@" ;;
  slow) sleep 1.5 ;;
  brief | poweroff | panic) guest=$mode ;;
esac
for arg do
  shift
  case $arg in q35,firmware=*) arg='q35,firmware=@ROMS@/'$guest.rom ;; esac
  set -- "$@" "$arg"
done
exec qemu-system-x86_64 "$@"
`;
