/**
 * Why QMP did not serve us.
 *
 * - `no_socket`: nobody listens on the path, though the process lives.
 * - `process_gone`: the process died before it greeted.
 * - `busy`: connected, but no greeting: another client holds the monitor, or QEMU hangs.
 * - `timeout`: a command was not answered in time.
 * - `refused`: QEMU answered with an error.
 * - `closed`: the connection is gone.
 * - `malformed`: QEMU said something that is not QMP.
 * - `overloaded`: too many commands are unanswered.
 */
export type QmpErrorCode =
  | "no_socket"
  | "process_gone"
  | "busy"
  | "timeout"
  | "refused"
  | "closed"
  | "malformed"
  | "overloaded";

export class QmpError extends Error {
  override readonly name = "QmpError";
  readonly code: QmpErrorCode;

  constructor(code: QmpErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
