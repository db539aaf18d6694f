import type { AttestationRecord, PcrBanks } from "../contract/attestation-record.ts";
import { type CorimContent, type CorimShape, corimIdsOf, type Digest, encodeCorim } from "./corim.ts";
import { type CoseSigner, signCorim } from "./cose-sign.ts";

export interface PolicyForm {
  readonly shape: CorimShape;
  /** Undefined: policies are not signed. */
  readonly signer: CoseSigner | undefined;
}

/**
 * The policy of one launch: what a verifier shall find in the evidence of its guest. Undefined where the record lacks
 * the measured values. Without a signer the same record always gives the same bytes.
 */
export function policyOf(
  vmId: string,
  record: AttestationRecord,
  { shape, signer }: PolicyForm,
): Uint8Array | undefined {
  const content = contentOf(record);
  if (content === undefined) return undefined;
  const corim = encodeCorim(content, corimIdsOf(vmId, record.epoch, record.platform), shape);
  return signer === undefined ? corim : signCorim(corim, signer, shape);
}

function contentOf(record: AttestationRecord): CorimContent | undefined {
  const { platform, product } = record;
  if (platform === "tdx") {
    const { registers } = record;
    if (registers === undefined) return undefined;
    const digests = REGISTERS.map((name) => ({ name, sha384: fromHex(registers[name]) }));
    return { platform, product, digests, svn: 0, hostData: undefined, pcrs: new Map() };
  }
  const { measurement, svn, hostData, pcrs } = record;
  if (measurement === undefined) return undefined;
  return {
    platform,
    product,
    digests: [{ name: "measurement", sha384: fromHex(measurement) }],
    svn: svn ?? 0,
    hostData: hostData === undefined ? undefined : fromHex(hostData),
    pcrs: registersOf(pcrs ?? {}),
  };
}

/** In the order of Cocos. */
const REGISTERS = ["mrtd", "mrseam", "rtmr0", "rtmr1", "rtmr2", "rtmr3"] as const;

/** By register, each with the digests of all banks that name it. */
function registersOf(banks: PcrBanks): ReadonlyMap<number, readonly Digest[]> {
  const registers = new Map<number, Digest[]>();
  for (const algorithm of ["sha256", "sha384"] as const) {
    for (const [name, hex] of Object.entries(banks[algorithm] ?? {})) {
      const number = Number(name);
      registers.set(number, [...(registers.get(number) ?? []), { algorithm, value: fromHex(hex) }]);
    }
  }
  return registers;
}

function fromHex(text: string): Buffer {
  return Buffer.from(text, "hex");
}
