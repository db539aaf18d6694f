import type { Logger } from "pino";
import { removeVmDirectory } from "../qemu/vm-directory.ts";
import { vmPaths } from "../qemu/vm-paths.ts";
import type { ClaimedJob, JobClaims } from "../queue/job-claims.ts";

const GIVE_BACK_MS = 2_000;

/**
 * Jobs that were fetched and could not be taken (Redis refused a write, the disk was full): nothing was launched for
 * them, so they go back to the queue as soon as Redis lets them, and their directory goes.
 */
export class StrandedJobs {
  readonly #claims: JobClaims;
  readonly #stateDir: string;
  readonly #logger: Logger;
  readonly #jobs = new Map<string, ClaimedJob>();

  constructor({ claims, stateDir, logger }: { claims: JobClaims; stateDir: string; logger: Logger }) {
    this.#claims = claims;
    this.#stateDir = stateDir;
    this.#logger = logger;
  }

  add(job: ClaimedJob): void {
    this.#jobs.set(job.vmId, job);
  }

  /** Gives back what it can; throws when Redis still refuses, and goes on the next time. */
  async giveBack(): Promise<void> {
    for (const job of this.#jobs.values()) {
      await this.#claims.giveBack(job, GIVE_BACK_MS);
      await removeVmDirectory(vmPaths({ stateDir: this.#stateDir, vmId: job.vmId, epoch: job.epoch }));
      this.#jobs.delete(job.vmId);
      this.#logger.warn({ vmId: job.vmId }, "a job that could not be taken went back to the queue");
    }
  }
}
