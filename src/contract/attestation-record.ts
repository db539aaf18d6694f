import { z } from "zod";

const hex = (bytes: number) =>
  z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`), `must be ${bytes * 2} hex digits`);

/** SHA-256 and SHA-384 values as texts of hex digits. */
export const Sha256Hex = hex(32);
export const Sha384Hex = hex(48);

/** Expected values of the guest's TPM registers: bank, then the register's number. */
export const PcrBanks = z.object({
  sha256: z.record(z.string(), Sha256Hex).optional(),
  sha384: z.record(z.string(), Sha384Hex).optional(),
});
export type PcrBanks = z.infer<typeof PcrBanks>;

/** What the registers of a trust domain hold when the right guest was started. */
export const TdxRegisters = z.object({
  mrtd: Sha384Hex,
  mrseam: Sha384Hex,
  rtmr0: Sha384Hex,
  rtmr1: Sha384Hex,
  rtmr2: Sha384Hex,
  rtmr3: Sha384Hex,
});
export type TdxRegisters = z.infer<typeof TdxRegisters>;

const launched = {
  /** The launch that this is of. */
  epoch: z.int(),
  /** MANAGER_QEMU_CPU of the host. */
  product: z.string(),
  /** Why there can be no policy for this launch. */
  problem: z.string().optional(),
};

/** What an attestation policy of a launch is made of, found out by its host, so that every API can make it. */
export const AttestationRecord = z.discriminatedUnion("platform", [
  z.object({
    platform: z.literal("snp"),
    ...launched,
    /** SHA-256 of the IGVM file, and what igvmmeasure made of that file. */
    igvmDigest: Sha256Hex.optional(),
    measurement: Sha384Hex.optional(),
    /** Of the request, as the guest's attestation report shows it. */
    hostData: Sha256Hex.optional(),
    svn: z.int().optional(),
    pcrs: PcrBanks.optional(),
  }),
  z.object({ platform: z.literal("tdx"), ...launched, registers: TdxRegisters.optional() }),
]);
export type AttestationRecord = z.infer<typeof AttestationRecord>;
