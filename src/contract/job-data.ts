import { z } from "zod";
import { VmSpec } from "./vm-request.ts";

/** What a create job carries in Redis: no secret, ever. `v` lets an older worker leave a newer job alone. */
export const VmJobData = z.strictObject({
  v: z.literal(1),
  vmId: z.uuid(),
  owner: z.string(),
  pool: z.string(),
  spec: VmSpec,
});
export type VmJobData = z.infer<typeof VmJobData>;

/** What a remove job in a host's own queue carries. The mark in Redis is the truth; this only makes it quick. */
export const RemoveJobData = z.strictObject({ v: z.literal(1), vmId: z.uuid() });
export type RemoveJobData = z.infer<typeof RemoveJobData>;

/** Name and data of the job that tells a host to look at what an operator wants of it. The host's key is the truth. */
export const HEED_JOB = "heed";
export const HeedJobData = z.strictObject({ v: z.literal(1) });
export type HeedJobData = z.infer<typeof HeedJobData>;
