/** Why a command stopped: somebody sent a signal. Told by the exit code alone. */
export class Interrupted extends Error {
  readonly exitCode: number;

  constructor(signal: "SIGINT" | "SIGTERM" | "SIGHUP") {
    super(`ended by ${signal}`);
    this.name = "Interrupted";
    // As a shell sees a program that the signal itself ended.
    this.exitCode = 128 + { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }[signal];
  }
}
