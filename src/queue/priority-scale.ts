import { PRIORITY_MAX } from "../contract/limits.ts";
import { PRIORITY_CLASSES } from "../contract/vm-request.ts";

/** How many job priorities one class has: the places of fair queueing are inside it. */
const CLASS_WIDTH = Math.floor(PRIORITY_MAX / PRIORITY_CLASSES.length);

/** What the scripts know of priorities (lua/include/fairness.lua). */
export const PRIORITY_SCALE = { classes: PRIORITY_CLASSES, classWidth: CLASS_WIDTH } as const;

/** The head of the class that a job's priority is in, where a job belongs that comes back. */
export function frontOfClass(jobPriority: number): number {
  const place = Math.max(jobPriority, 1) - 1;
  return Math.min(Math.floor(place / CLASS_WIDTH), PRIORITY_CLASSES.length - 1) * CLASS_WIDTH + 1;
}
