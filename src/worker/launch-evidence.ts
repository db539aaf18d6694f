import type { Logger } from "pino";
import type { LaunchFile } from "../contract/forensics.ts";
import type { QemuConfig, Tee } from "../contract/qemu-config.ts";
import { FileDigests } from "../qemu/file-digest.ts";
import { givenFiles } from "../qemu/given-files.ts";
import { probeVersion } from "../qemu/qemu-probe.ts";
import type { LaunchStore } from "../queue/launch-store.ts";
import type { Config } from "../runtime/config-shape.ts";
import type { Scope } from "../runtime/scope.ts";
import type { Launch } from "./launch.ts";
import { vmTee } from "./vm-hardware.ts";

/** A storm of failures is one failure many times: what waits beyond this is left out. */
const WAITING_MAX = 100;

export interface LaunchEvidenceDeps {
  readonly config: Config;
  readonly tee: Tee;
  readonly launches: Pick<LaunchStore, "noteFiles">;
  readonly digests: Pick<FileDigests, "digest">;
  readonly qemuVersion: (binPath: QemuConfig["binPath"]) => Promise<string | undefined>;
  readonly logger: Logger;
}

/**
 * Finds out what a failed launch was made of: the digests of its files and the version of QEMU. It does so after the end
 * is published, one launch at a time, so that no launch and no end waits for it; what cannot be found out is left out.
 */
export class LaunchEvidence {
  readonly #deps: LaunchEvidenceDeps;
  readonly #stopping = new AbortController();
  #waiting = 0;
  #last: Promise<void> = Promise.resolve();

  constructor(deps: LaunchEvidenceDeps) {
    this.#deps = deps;
  }

  gather({ identity, spec }: Pick<Launch, "identity" | "spec">): void {
    if (this.#waiting >= WAITING_MAX || this.#stopping.signal.aborted) return;
    this.#waiting += 1;
    this.#last = this.#last
      .then(() => this.#gather({ identity, spec }))
      .catch((error: unknown) => {
        if (this.#stopping.signal.aborted) return;
        this.#deps.logger.warn(
          { err: error, vmId: identity.vmId },
          "the files of a failed launch were not written down",
        );
      })
      .finally(() => {
        this.#waiting -= 1;
      });
  }

  /** Gives up what is under way. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#last;
  }

  async #gather({ identity, spec }: Pick<Launch, "identity" | "spec">): Promise<void> {
    const { config, tee, launches, digests, qemuVersion } = this.#deps;
    const { signal } = this.#stopping;
    const files: LaunchFile[] = [];
    for (const { role, path } of givenFiles(config, vmTee(spec, tee).kind))
      files.push({ role, path, ...(await digests.digest(path, signal)) });
    signal.throwIfAborted();
    const version = (await qemuVersion(config.qemu.binPath)) ?? null;
    await launches.noteFiles(identity.vmId, { epoch: identity.epoch, qemuVersion: version, files });
  }
}

/** This machine's; it stops with the scope. */
export function openEvidence(
  scope: Scope,
  parts: Pick<LaunchEvidenceDeps, "config" | "tee" | "launches" | "logger">,
): LaunchEvidence {
  const evidence = new LaunchEvidence({ ...parts, digests: new FileDigests(), qemuVersion: probeVersion });
  return scope.own(evidence, (owned) => owned.stop());
}
