import { createServer } from "node:net";
import { LaunchFailure } from "../contract/causes.ts";
import { errnoOf } from "../runtime/errno.ts";

/**
 * True when a TCP port can be listened on now. It is only a hint: QEMU may still meet a quicker process, and its own
 * failure (`port_taken`) is the proof. `address` is what the port will be bound to; empty means all of IPv4, as in
 * QEMU's `hostfwd=tcp::port-`.
 * Throws LaunchFailure `qemu_option_invalid` when the address is none of this host, `resources_exhausted` without
 * descriptors.
 */
export function isPortFree(address: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error) => {
      const code = errnoOf(error);
      if (code === "EADDRINUSE" || code === "EACCES") return resolve(false);
      if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND" || code === "EINVAL") {
        return reject(
          new LaunchFailure("qemu_option_invalid", `'${address}' (DROVER_FORWARD_BIND) is no address of this host`),
        );
      }
      if (code === "EMFILE" || code === "ENFILE")
        return reject(new LaunchFailure("resources_exhausted", error.message));
      reject(error);
    });
    server.listen({ host: address === "" ? "0.0.0.0" : address, port, exclusive: true }, () => {
      server.close(() => resolve(true)); // only then is the port QEMU's to take
    });
  });
}
