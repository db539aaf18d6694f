import type { ProcessIdentity } from "../runtime/process-identity.ts";
import type { HeartbeatTiming } from "./heartbeat.ts";
import type { ExitFacts } from "./qemu-process.ts";
import type { QmpClient } from "./qmp-client.ts";
import type { RingChunk } from "./ring-reader.ts";
import type { VmPaths } from "./vm-paths.ts";

/** Something that was seen of a VM and that does not end it. */
export type QemuObservation =
  | { readonly kind: "unresponsive"; readonly silentForMs: number }
  | { readonly kind: "responsive" }
  | { readonly kind: "monitor-lost"; readonly reason: string }
  | { readonly kind: "monitor-back" }
  /** At most once a second, however often it does. */
  | { readonly kind: "guest-rebooted" }
  /** The guest stands still and may go on: `paused`, `io-error` (its disk is full), ... */
  | { readonly kind: "paused"; readonly status: string }
  | { readonly kind: "output-not-written"; readonly error: unknown };

export interface SuperviseOptions {
  readonly vmId: string;
  readonly paths: VmPaths;
  /** Which ring buffers the command line has. */
  readonly rings: { readonly console: boolean; readonly result: boolean };
  readonly heartbeat?: HeartbeatTiming;
  readonly onConsole?: (chunk: RingChunk) => void;
  readonly onObservation?: (observation: QemuObservation) => void;
}

/** A process that is watched: our own child, or one that we are not the parent of. */
export interface WatchedProcess extends ProcessIdentity {
  readonly exited: Promise<ExitFacts>;
  /** The monitor has closed: look now. */
  readonly lookClosely?: () => void;
  readonly stopWatching?: () => void;
}

export interface SupervisedParts {
  readonly process: WatchedProcess;
  readonly client: QmpClient;
  readonly redial: (signal: AbortSignal) => Promise<QmpClient>;
  /** Set when the guest had ended before anybody watched. */
  readonly status: string;
}
