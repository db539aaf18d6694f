import type { LaunchRecord } from "../contract/vm-record.ts";
import type { VmSpec } from "../contract/vm-request.ts";
import type { VmPaths } from "../qemu/vm-paths.ts";
import type { LaunchIdentity } from "../queue/launch-moves.ts";
import type { LocalRecord } from "./local-record.ts";

/** One launch in this worker's hands: prepared, with its port, its directory and its intent on disk. */
export interface Launch {
  readonly identity: LaunchIdentity;
  readonly owner: string;
  readonly spec: VmSpec;
  readonly attempts: number;
  readonly attemptsMade: number;
  readonly hasSecrets: boolean;
  readonly earlierLaunches: readonly LaunchRecord[];
  readonly avoid: Readonly<Record<string, number>>;
  /** Unix ms; set when an earlier launch has run: the TTL goes on. */
  readonly deadlineAtMs: number | undefined;
  readonly paths: VmPaths;
  readonly startedAtMs: number;
  /** Why nothing can be launched: the job's data is not readable. */
  readonly problem: string | undefined;
  /** What is on disk of the launch; replaced as more is known. */
  record: LocalRecord;
  /** Changes when a foreign process holds the first one; undefined once it is given back without another. */
  port: number | undefined;
  /** The QEMU command as one shell line, secrets masked, once it is known. */
  command: string | undefined;
}
