import { z } from "zod";
import { BATCH_ID_CHARS, HOST_NOTE_MAX_CHARS, TAIL_MAX_BYTES } from "./limits.ts";
import { VM_EVENT_TYPES } from "./vm-event.ts";
import { duration, plainText } from "./vm-request.ts";

/** A flag of a query: present without a value means true, as in `?follow`. */
export const flag = z
  .enum(["", "true", "1", "false", "0"])
  .transform((text) => text === "" || text === "true" || text === "1");

export const RemoveQuery = z.strictObject({
  force: flag.optional().describe("Do not ask the guest first: end its machine at once."),
});
export type RemoveQuery = z.infer<typeof RemoveQuery>;

const note = plainText(HOST_NOTE_MAX_CHARS).optional().describe("Why, for whoever looks at the host.");

export const HostWishQuery = z.strictObject({ note });
export type HostWishQuery = z.infer<typeof HostWishQuery>;

export const HostDrainQuery = z.strictObject({
  note,
  timeout: duration
    .refine((text) => text !== "", "must be a duration; leave it out for no limit")
    .optional()
    .describe("What has not ended after this time is evacuated, for example `30m`. Left out: nothing is."),
});
export type HostDrainQuery = z.infer<typeof HostDrainQuery>;

export const ConsoleQuery = z.strictObject({
  follow: flag.optional().describe("Go on with what the guest writes until the VM has ended."),
  bytes: z.coerce
    .number()
    .int()
    .min(0)
    .max(TAIL_MAX_BYTES)
    .default(TAIL_MAX_BYTES)
    .describe("How many of the last bytes to begin with."),
});
export type ConsoleQuery = z.infer<typeof ConsoleQuery>;

/** Id of an event in the stream. `0` stands before the oldest event that is kept. */
export const StreamId = z
  .string()
  .regex(/^\d{1,20}(-\d{1,20})?$/, "must be the id of an event of this stream, for example 1732372845123-0, or 0");

export const EventsQuery = z.strictObject({
  type: z
    .union([z.enum(VM_EVENT_TYPES), z.array(z.enum(VM_EVENT_TYPES))])
    .optional()
    .describe("Only events of this type (repeat the parameter for several)."),
  vm: z
    .union([z.uuid(), z.array(z.uuid())])
    .optional()
    .describe("Only events of this VM (repeat the parameter for several)."),
  batch: z.string().max(BATCH_ID_CHARS).optional().describe("Only events of this batch and of its VMs."),
  after: StreamId.optional().describe(
    "Begin after this event. The header Last-Event-ID wins over it; without both, only new events come.",
  ),
});
export type EventsQuery = z.infer<typeof EventsQuery>;

/** Data of the SSE event `gap`: events that the reader asked for are not there any more. */
export const GapNotice = z.strictObject({
  after: z.string().describe("Where the reader wanted to go on."),
  resumedAfter: z.string().describe("Where the stream goes on instead: after this id."),
  reason: z
    .enum(["trimmed", "reset"])
    .describe(
      "`trimmed`: older than what is kept (DROVER_EVENTS_MAX). `reset`: Redis lost its data; the id is not from this stream.",
    ),
});
export type GapNotice = z.infer<typeof GapNotice>;
