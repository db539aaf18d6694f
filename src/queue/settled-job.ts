import type { Job } from "bullmq";
import { z } from "zod";

/** What `complete` was told. */
const Returned = z.object({
  outcome: z.enum(["completed", "removed", "expired"]),
  reason: z
    .string()
    .nullable()
    .transform((reason) => reason ?? "unknown"),
  exitCode: z.int().nullable().default(null),
});

/** How a job was settled; `waiting`: it is to be launched again. */
export type SettledJob = { readonly attemptsMade: number } & (
  | ({ readonly state: "completed" } & z.infer<typeof Returned>)
  | { readonly state: "failed"; readonly message: string }
  | { readonly state: "active" | "waiting" | "none" }
);

/** What became of a job; undefined is one that there is none of. */
export async function settledJob(job: Job | undefined): Promise<SettledJob> {
  if (job === undefined) return { state: "none", attemptsMade: 0 };
  const state = await job.getState();
  const { attemptsMade } = job;
  if (state === "active") return { state, attemptsMade };
  if (state === "failed") return { state, attemptsMade, message: job.failedReason };
  if (state !== "completed") return { state: "waiting", attemptsMade };
  const returned = Returned.safeParse(job.returnvalue);
  return returned.success
    ? { state, attemptsMade, ...returned.data }
    : { state: "failed", attemptsMade, message: "internal: the job's result cannot be read" };
}
