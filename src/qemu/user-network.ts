import type { QmpClient } from "./qmp-client.ts";

/** A listening port of QEMU's user-mode network. */
export interface HostForward {
  readonly address: string;
  readonly port: number;
  readonly guestAddress: string;
  readonly guestPort: number;
}

/** A row like `TCP[HOST_FORWARD]  8  127.0.0.1 34395  10.0.2.15  7002  0  0`; all addresses show as `*`. */
const HOST_FORWARD = /^\s*TCP\[HOST_FORWARD\]\s+\d+\s+(\S+)\s+(\d+)\s+(\S+)\s+(\d+)/gm;

/** The forwarded TCP ports in the text of the monitor command `info usernet`. Pure. */
export function parseHostForwards(infoUsernet: string): readonly HostForward[] {
  return [...infoUsernet.matchAll(HOST_FORWARD)].map(([, address = "", port, guestAddress = "", guestPort]) => ({
    address,
    port: Number(port),
    guestAddress,
    guestPort: Number(guestPort),
  }));
}

/**
 * The TCP ports that this QEMU itself has bound. To find the port open says nothing: anybody may hold it.
 * Rejects as QmpClient.execute does.
 */
export async function listHostForwards(qmp: QmpClient, timeoutMs: number): Promise<readonly HostForward[]> {
  return parseHostForwards(
    await qmp.execute("human-monitor-command", { "command-line": "info usernet" }, { timeoutMs }),
  );
}

/** True when this very QEMU forwards `port` of the host. Rejects as QmpClient.execute does. */
export async function forwardIsBound(qmp: QmpClient, port: number, timeoutMs: number): Promise<boolean> {
  return (await listHostForwards(qmp, timeoutMs)).some((forward) => forward.port === port);
}
