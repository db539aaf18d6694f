import { z } from "zod";
import { CAUSE_CODES } from "./causes.ts";

/** What a file is to a launch. */
const LAUNCH_FILE_ROLES = ["kernel", "initrd", "firmware", "firmware-variables", "igvm", "disk-source"] as const;
export type LaunchFileRole = (typeof LAUNCH_FILE_ROLES)[number];

/** A file of the host that a launch was given, as it was found after the launch had failed. */
export const LaunchFile = z.object({
  role: z.enum(LAUNCH_FILE_ROLES),
  path: z.string(),
  bytes: z.int().nullable(),
  modifiedAtMs: z.number().nullable(),
  sha256: z.string().nullable(),
  /** Why there is no digest. */
  problem: z.string().nullable(),
});
export type LaunchFile = z.infer<typeof LaunchFile>;

/** What is found out of a failed launch once its end is published. */
export const LaunchFiles = z.object({
  epoch: z.int(),
  qemuVersion: z.string().nullable(),
  files: z.array(LaunchFile),
});
export type LaunchFiles = z.infer<typeof LaunchFiles>;

/**
 * What is kept of a failed launch. All texts are masked before they get here. Unknown fields are left out, so that an
 * older API reads what a newer worker has written.
 */
export const Forensics = z.object({
  epoch: z.int(),
  host: z.string(),
  port: z.int().nullable(),
  startedAtMs: z.int(),
  endedAtMs: z.int(),
  cause: z.object({ code: z.enum(CAUSE_CODES), message: z.string() }),
  command: z.string().nullable(),
  exit: z.object({ exitCode: z.int().nullable(), signal: z.string().nullable() }).nullable(),
  /** The last things that QEMU told unasked, oldest first; `data` is JSON text. */
  qmpEvents: z.array(z.object({ name: z.string(), data: z.string(), atMs: z.int() })),
  consoleTail: z.string(),
  qemuTail: z.string(),
});
export type Forensics = z.infer<typeof Forensics>;

const time = z.iso.datetime();

/** A failed launch as every interface shows it. */
export const ForensicsView = z.strictObject({
  epoch: z.int().describe("Which launch of the VM it was."),
  host: z.string(),
  port: z.int().nullable(),
  startedAt: time,
  endedAt: time,
  cause: z.strictObject({ code: z.enum(CAUSE_CODES), message: z.string() }),
  command: z
    .string()
    .nullable()
    .describe("The QEMU command as one shell line, secrets masked; null when it did not get so far."),
  exit: z
    .strictObject({ exitCode: z.int().nullable(), signal: z.string().nullable() })
    .nullable()
    .describe("How QEMU ended, where it ended by itself and that was seen."),
  qmpEvents: z
    .array(z.strictObject({ name: z.string(), data: z.string().describe("JSON text."), at: time }))
    .describe("The last things that QEMU told unasked, oldest first."),
  consoleTail: z.string().describe("The last lines of the guest's console."),
  qemuTail: z.string().describe("The last lines of QEMU's own output."),
  qemuVersion: z.string().nullable(),
  files: z
    .array(
      z.strictObject({
        role: z.enum(LAUNCH_FILE_ROLES),
        path: z.string(),
        bytes: z.int().nullable(),
        modifiedAt: time.nullable(),
        sha256: z.string().nullable(),
        problem: z.string().nullable().describe("Why there is no digest."),
      }),
    )
    .nullable()
    .describe("The files of the host that the launch was given, with their digests; null until these are computed."),
});
export type ForensicsView = z.infer<typeof ForensicsView>;
