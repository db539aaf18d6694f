import { findByUuid, type UuidProcess } from "../../src/qemu/process-scan.ts";
import { connectQmp } from "../../src/qemu/qmp-connect.ts";
import type { VmPaths } from "../../src/qemu/vm-paths.ts";

/** The one process of a VM, found as anybody would find it: by the uuid on its command line. */
export function machineOf(vmId: string): UuidProcess {
  const [machine, ...more] = findByUuid(vmId);
  if (machine === undefined) throw new Error(`VM ${vmId} has no process`);
  if (more.length > 0) throw new Error(`VM ${vmId} has ${more.length + 1} processes`);
  return machine;
}

/** Something outside drover ends the VM's QEMU. */
export function killMachine(vmId: string, signal: NodeJS.Signals): void {
  process.kill(machineOf(vmId).pid, signal);
}

/** Presses the VM's power button, over the monitor that its worker leaves free. */
export async function pressPowerButton(paths: VmPaths): Promise<void> {
  const monitor = await connectQmp({ socketPath: paths.qmpRescueSocket, timeoutMs: 10_000, isAlive: () => true });
  await monitor.execute("system_powerdown", {}, { timeoutMs: 10_000 });
  monitor.close();
}
