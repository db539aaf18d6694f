import { z } from "zod";

/**
 * What the dashboard shows of a job, by allow-list: what is not named here does not appear, whatever a later version
 * puts into jobs. Nothing in jobs is secret; the rest is left out because it is long or says nothing.
 */
const ShownSpec = z.object({
  name: z.string().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  priority: z.string().optional(),
  ttl: z.string().optional(),
  queueTimeout: z.string().optional(),
  bootTimeout: z.string().optional(),
  attempts: z.number().optional(),
  probe: z.object({ type: z.string() }).optional(),
  result: z.boolean().optional(),
  onReboot: z.string().optional(),
  tee: z.string().optional(),
  gpu: z.boolean().optional(),
});
const ShownData = z.object({
  vmId: z.string(),
  owner: z.string().optional(),
  pool: z.string().optional(),
  spec: ShownSpec.optional(),
});

const ShownCause = z.object({ code: z.string(), message: z.string() });
const ShownProgress = z.object({
  state: z.string().optional(),
  host: z.string().optional(),
  launch: z.number().optional(),
  address: z.string().optional(),
  port: z.number().optional(),
  portSetAside: z.number().optional(),
  pid: z.number().optional(),
  accel: z.string().optional(),
  tee: z.string().optional(),
  bootMs: z.number().optional(),
  reason: z.string().optional(),
  cause: ShownCause.optional(),
  attempt: z.number().optional(),
  command: z.string().optional(),
});

const ShownReturnValue = z.object({
  outcome: z.string().optional(),
  reason: z.string().optional(),
  exitCode: z.number().nullable().optional(),
  host: z.string().optional(),
});

const HIDDEN = "(not shown)";

function allow(schema: z.ZodType): (value: unknown) => unknown {
  return (value) => {
    if (value === null || value === undefined) return value;
    const parsed = schema.safeParse(value);
    return parsed.success ? parsed.data : HIDDEN;
  };
}

export const showData = allow(ShownData);
/** BullMQ's progress of a job that was never fetched is the number 0. */
export const showProgress = allow(z.union([z.number(), ShownProgress]));
export const showReturnValue = allow(ShownReturnValue);
