import type { Config } from "../../runtime/config-shape.ts";

/** Whether QEMU opens any device and locks as much memory as it likes: its worker is root, or sudo gives it these rights. */
export function opensAnyDevice(
  { qemu, qemuProcess }: Pick<Config, "qemu" | "qemuProcess">,
  uid = process.getuid?.() ?? 0,
): boolean {
  return qemuProcess.user === undefined && (uid === 0 || qemu.useSudo);
}
