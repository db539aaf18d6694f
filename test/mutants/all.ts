import { BATCH_MUTANTS } from "./batches.ts";
import { FAILURE_MUTANTS } from "./failures.ts";
import { HOST_MUTANTS } from "./hosts.ts";
import { METRIC_MUTANTS } from "./metrics.ts";
import type { Mutant } from "./mutant.ts";
import { PAGE_MUTANTS } from "./pages.ts";
import { PLACEMENT_MUTANTS } from "./placement.ts";
import { QEMU_MUTANTS } from "./qemu.ts";
import { QUEUE_MUTANTS } from "./queue.ts";
import { SCRIPT_MUTANTS } from "./scripts.ts";
import { WORKER_MUTANTS } from "./worker.ts";

/** Every break that the suite must see. */
export const MUTANTS: readonly Mutant[] = [
  ...SCRIPT_MUTANTS,
  ...QUEUE_MUTANTS,
  ...QEMU_MUTANTS,
  ...WORKER_MUTANTS,
  ...PLACEMENT_MUTANTS,
  ...HOST_MUTANTS,
  ...METRIC_MUTANTS,
  ...FAILURE_MUTANTS,
  ...PAGE_MUTANTS,
  ...BATCH_MUTANTS,
];
