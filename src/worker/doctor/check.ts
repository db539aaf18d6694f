/** Which part of the list a check belongs to. */
export const CHECK_AREAS = ["host", "redis", "vms"] as const;
export type CheckArea = (typeof CHECK_AREAS)[number];

/** One line of `drover doctor`. */
export interface Check {
  /** Stable name, for programs. */
  readonly id: string;
  readonly area: CheckArea;
  /** `warning`: it works, but hardly as it was meant. `problem`: something does not work, or is not as it should be. */
  readonly status: "ok" | "warning" | "problem";
  readonly text: string;
  /** What to do about it. */
  readonly todo?: string;
  /** What `--fix` would do about it. */
  readonly fix?: Fix;
}

/** What `--fix` can do; each is one act on one thing, and is checked again before it is done. */
export type Fix =
  | {
      readonly kind: "end_process";
      readonly vmId: string;
      readonly epoch: number;
      readonly pid: number;
      readonly startTimeTicks: number;
    }
  | { readonly kind: "remove_directory"; readonly vmId: string; readonly epoch: number }
  | {
      readonly kind: "give_port";
      readonly port: number;
      readonly vmId: string;
      readonly epoch: number;
      readonly token: string;
    }
  | { readonly kind: "set_noeviction" };

/** The same fix of two lists. */
export function isSameFix(a: Fix, b: Fix): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
