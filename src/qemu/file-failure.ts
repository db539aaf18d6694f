import { type CauseCode, LaunchFailure } from "../contract/causes.ts";
import { errnoOf } from "../runtime/errno.ts";

const CAUSE_OF_ERRNO: Readonly<Record<string, CauseCode>> = {
  ENOSPC: "disk_full",
  EDQUOT: "disk_full",
  EMFILE: "resources_exhausted",
  ENFILE: "resources_exhausted",
  ENOMEM: "memory_exhausted",
};

/**
 * A failed file operation inside drover's own directory as a classified failure: a full disk or used-up descriptors
 * by their errno, everything else as `state_dir_unusable`. A LaunchFailure passes unchanged.
 */
export function fileFailure(error: unknown, what: string): LaunchFailure {
  if (error instanceof LaunchFailure) return error;
  const cause = CAUSE_OF_ERRNO[errnoOf(error) ?? ""] ?? "state_dir_unusable";
  const reason = error instanceof Error ? error.message : String(error);
  return new LaunchFailure(cause, `${what}: ${reason}`, { cause: error });
}
