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
  ...PAGE_MUTANTS,
];
