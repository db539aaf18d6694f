/** What has no end by then hangs. */
export const HANG_MS = 10_000;

/** What came of one input. */
export interface Outcome {
  /** In one word, for the figures: a status, or `cut` for a connection closed without one. */
  readonly answer: string;
  readonly hung: boolean;
  /** The server took the mistake for its own, or did not answer as it should. */
  readonly failure: string | undefined;
  readonly refused: boolean;
  /** VMs that were accepted. */
  readonly accepted: number;
  /** What came back. */
  readonly text: string;
}
