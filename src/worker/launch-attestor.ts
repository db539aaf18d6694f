import type { Logger } from "pino";
import { hostDataOf } from "../attestation/host-data.ts";
import { IgvmMeasurer } from "../attestation/igvm-measurer.ts";
import { PolicyInputError, readPcrValues, readTdxRegisters } from "../attestation/policy-file.ts";
import type { AttestationRecord } from "../contract/attestation-record.ts";
import type { Tee } from "../contract/qemu-config.ts";
import type { VmSpec } from "../contract/vm-request.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Config } from "../runtime/config-shape.ts";
import type { Scope } from "../runtime/scope.ts";

/** The launch whose guest shall prove what it is. */
export interface AttestedLaunch {
  readonly identity: { readonly vmId: string; readonly epoch: number };
  readonly spec: VmSpec;
}

/** The attestor of a host; undefined where its VMs have no TEE. What it runs ends with the scope. */
export function openAttestor(
  scope: Scope,
  { tee, stateDir, clock, ...rest }: { config: Config; tee: Tee; stateDir: string; clock: Clock; logger: Logger },
): LaunchAttestor | undefined {
  if (tee.kind === "none") return undefined;
  const { attestationPolicyBinaryPath: binaryDir } = rest.config.manager;
  const measurer = scope.own(new IgvmMeasurer({ binaryDir, stateDir, clock }), (owned) => owned.close());
  if (tee.kind === "snp") measureAhead(measurer, rest);
  return new LaunchAttestor({ ...rest, platform: tee.kind, measurer });
}

/** So that the first launch need not wait, and the log says at the start what is missing. */
function measureAhead(measurer: IgvmMeasurer, { config, logger }: { config: Config; logger: Logger }): void {
  const { file } = config.qemu.igvm;
  measurer.measure(file, new AbortController().signal).then(
    (measured) => logger.info({ file, ...measured }, "the IGVM file is measured"),
    (error: unknown) => logger.warn({ err: error }, "there can be no attestation policy for VMs of this host yet"),
  );
}

/**
 * Finds out what the attestation policy of a launch is made of. A launch never fails by it: what is not to be had is
 * noted in the record, and then there is no policy.
 */
export class LaunchAttestor {
  readonly #config: Config;
  readonly #platform: AttestationRecord["platform"];
  readonly #measurer: Pick<IgvmMeasurer, "measure">;
  readonly #logger: Logger;

  constructor(options: {
    config: Config;
    platform: AttestationRecord["platform"];
    measurer: Pick<IgvmMeasurer, "measure">;
    logger: Logger;
  }) {
    this.#config = options.config;
    this.#platform = options.platform;
    this.#measurer = options.measurer;
    this.#logger = options.logger;
  }

  /** Base64 of the host data that QEMU gives the guest; undefined where guests of this host get none. */
  hostData(spec: VmSpec): string | undefined {
    return this.#givesHostData ? hostDataOf(spec).toString("base64") : undefined;
  }

  /** Rejects only with the signal's reason. */
  async attest({ identity: { vmId, epoch }, spec }: AttestedLaunch, signal: AbortSignal): Promise<AttestationRecord> {
    const { qemu, attestation } = this.#config;
    const launched = { epoch, product: qemu.cpu };
    if (this.#platform === "tdx") {
      return this.#completed(vmId, { platform: "tdx", ...launched }, async (record) => ({
        ...record,
        registers: await readTdxRegisters(attestation.tdxMeasurements),
      }));
    }
    const hostData = this.#givesHostData ? { hostData: hostDataOf(spec).toString("hex") } : {};
    const svn = attestation.corimSvn > 0 ? { svn: attestation.corimSvn } : {};
    return this.#completed(vmId, { platform: "snp", ...launched, ...hostData, ...svn }, async (record) => {
      const { pcrValues } = this.#config.manager;
      const pcrs = pcrValues === "" ? {} : { pcrs: await readPcrValues(pcrValues) };
      return { ...record, ...pcrs, ...(await this.#measurer.measure(qemu.igvm.file, signal)) };
    });
  }

  get #givesHostData(): boolean {
    return this.#platform === "snp" && this.#config.qemu.sevSnp.enableHostData;
  }

  async #completed<T extends AttestationRecord>(
    vmId: string,
    known: T,
    complete: (record: T) => Promise<T>,
  ): Promise<T> {
    try {
      return await complete(known);
    } catch (error) {
      if (!(error instanceof PolicyInputError)) throw error;
      this.#logger.warn({ vmId, problem: error.message }, "there can be no attestation policy for this launch");
      return { ...known, problem: error.message };
    }
  }
}
