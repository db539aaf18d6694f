import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { policyOf } from "../../../src/attestation/attestation-policy.ts";
import {
  CLASSES,
  type CorimContent,
  type CorimIds,
  corimIdsOf,
  encodeCorim,
  type MeasurementName,
} from "../../../src/attestation/corim.ts";
import { nameUuid, OID_NAMESPACE } from "../../../src/attestation/name-uuid.ts";
import type { AttestationRecord } from "../../../src/contract/attestation-record.ts";
import { at, comidOf, hex, read, untag } from "./cbor-reader.ts";

const Golden = z.object({
  name: z.string(),
  options: z.object({
    platform: z.enum(["snp", "tdx"]),
    measurement: z.string(),
    product: z.string(),
    svn: z.number(),
    signed: z.boolean(),
  }),
  uuidsInOrderOfUse: z.array(z.string()),
  cborHex: z.string().optional(),
});
const goldens = z
  .array(Golden)
  .parse(JSON.parse(readFileSync(new URL("../../fixtures/goldens/corim.json", import.meta.url), "utf8")));
/** A measurement of 32 bytes is none of SHA-384: Cocos leaves it out without a word, drover never gets so far. */
const comparable = goldens.filter(
  ({ cborHex, options }) => cborHex !== undefined && [0, 96].includes(options.measurement.length),
);

const TDX_NAMES = ["mrtd", "mrseam", "rtmr0", "rtmr1", "rtmr2", "rtmr3"] as const;
/** Cocos's constants for a trust domain that nobody has measured. */
const TDX_OF_COCOS = [
  "91eb2b44d141d4ece09f0c75c2c53d247a3c68edd7fafe8a3520c942a604a407de03ae6dc5f87f27428b2538873118b7",
  "5b38e33a6487958b72c3c12a938eaa5e3fd4510c51aeeab58c7d5ecee41d7c436489d6c8e4f92f160b7cad34207b00c1",
  "ce0891f46a18db93e7691f1cf73ed76593f7dec1b58f0927ccb56a99242bf63bc9551561f9ee7833d40395fae59547ab",
  "062ac322e26b10874a84977a09735408a856aec77ff62b4975b1e90e33c18f05220ea522cdbffc3b2cf4451cc209e418",
  "5fd86e8c3d5e45386f1ed0852de7e83ae1b774ee4366bd5213c9890e8e3ac8fad3f7e690891d37f7c81ac20a445cc0ff",
  "0".repeat(96),
];

function contentOf({ options: { platform, measurement, product, svn } }: z.infer<typeof Golden>): CorimContent {
  const values = measurement === "" ? TDX_OF_COCOS : [measurement];
  const digests =
    platform === "tdx"
      ? TDX_NAMES.map((name, index) => ({ name, sha384: Buffer.from(values[index] ?? "", "hex") }))
      : [{ name: "measurement" as const, sha384: Buffer.from(measurement.padStart(96, "0"), "hex") }];
  return { platform, product, digests, svn, hostData: undefined, pcrs: new Map() };
}

/** Cocos draws tag, class, one for each measurement, and the manifest's own. */
function idsOf({ options: { platform }, uuidsInOrderOfUse }: z.infer<typeof Golden>): CorimIds {
  const [tag = "", classId = "", ...others] = uuidsInOrderOfUse;
  const names: readonly MeasurementName[] = platform === "tdx" ? TDX_NAMES : ["measurement"];
  return {
    tag,
    classId,
    corim: others.at(-1) ?? "",
    measurement: (name) => others[names.indexOf(name)] ?? "",
  };
}

describe("in the shape of Cocos", () => {
  test.each(comparable)("$name has the very bytes of Cocos's generator", (golden) => {
    const bytes = encodeCorim(contentOf(golden), idsOf(golden), "cocos");
    const wanted = Buffer.from(golden.cborHex ?? "", "hex");
    const payload = golden.options.signed ? at(untag(read(wanted), 18), 2) : wanted;
    expect(Buffer.from(bytes).toString("hex")).toBe(hex(payload));
  });

  test("the goldens were there", () => {
    expect(comparable.map(({ name }) => name)).toEqual([
      "manager-snp-as-shipped",
      "manager-tdx-signed",
      "snp-48-byte-svn",
      "snp-48-byte-signed",
      "tdx-defaults-svn2",
    ]);
  });
});

const VM = "0b9a8a5e-6a0f-4a53-9d5f-6d1c2e3f4a5b";
const SNP: AttestationRecord = {
  platform: "snp",
  epoch: 2,
  product: "EPYC",
  igvmDigest: "11".repeat(32),
  measurement: "22".repeat(48),
  hostData: "33".repeat(32),
  svn: 5,
  pcrs: { sha256: { "0": "44".repeat(32), "9": "55".repeat(32) }, sha384: { "0": "66".repeat(48) } },
};
const TDX: AttestationRecord = {
  platform: "tdx",
  epoch: 1,
  product: "host",
  registers: {
    mrtd: "a1".repeat(48),
    mrseam: "a2".repeat(48),
    rtmr0: "b0".repeat(48),
    rtmr1: "b1".repeat(48),
    rtmr2: "b2".repeat(48),
    rtmr3: "b3".repeat(48),
  },
};
const DRAFT = { shape: "draft", signer: undefined } as const;

function decoded(record: AttestationRecord): unknown {
  return read(policyOf(VM, record, DRAFT) ?? new Uint8Array());
}

describe("in the shape of the draft", () => {
  test("a policy of SEV-SNP holds measurement, SVN, host data and PCR values", () => {
    const comid = comidOf(decoded(SNP));
    const [platform, tpm] = [at(comid, 4, 0, 0), at(comid, 4, 0, 1)];
    expect(hex(untag(at(platform, 0, 0, 0), 37))).toBe(CLASSES.snp.id.replaceAll("-", ""));
    expect([at(platform, 0, 0, 1), at(platform, 0, 0, 2)]).toEqual(["AMD", "SEV-SNP"]);
    expect(hex(untag(at(platform, 0, 1), 37))).toBe("2c4762760d1c59f38d79693ec3752677");
    const [main, hostData] = [at(platform, 1, 0), at(platform, 1, 1)];
    expect([at(main, 0), untag(at(main, 1, 1), 552), at(main, 1, 2, 0, 0), hex(at(main, 1, 2, 0, 1))]).toEqual([
      "measurement",
      5,
      7,
      "22".repeat(48),
    ]);
    expect([at(hostData, 0), hex(untag(at(hostData, 1, 4), 560))]).toEqual(["host-data", "33".repeat(32)]);
    expect([at(tpm, 0, 0, 2), at(tpm, 1, 0, 0)]).toEqual(["TPM 2.0", "pcrs"]);
    expect(at(tpm, 1, 0, 1, 14)).toEqual(
      new Map([
        [
          0,
          [
            [1, bytes("44", 32)],
            [7, bytes("66", 48)],
          ],
        ],
        [9, [[1, bytes("55", 32)]]],
      ]),
    );
  });

  test("a policy of TDX holds the six registers in Cocos's order, and no SVN", () => {
    const measurements = at(comidOf(decoded(TDX)), 4, 0, 0, 1);
    expect(
      TDX_NAMES.map((_name, index) => [
        at(measurements, index, 0),
        hex(at(measurements, index, 1, 2, 0, 1)).slice(0, 2),
      ]),
    ).toEqual([
      ["mrtd", "a1"],
      ["mrseam", "a2"],
      ["rtmr0", "b0"],
      ["rtmr1", "b1"],
      ["rtmr2", "b2"],
      ["rtmr3", "b3"],
    ]);
    expect(at(measurements, 0, 1, 1)).toBeUndefined();
  });

  test("what is not known is left out", () => {
    const { svn: _svn, hostData: _hostData, pcrs: _pcrs, ...least } = SNP as Extract<typeof SNP, { platform: "snp" }>;
    const triples = at(comidOf(decoded({ ...least, product: "" })), 4, 0);
    expect(triples).toHaveLength(1);
    expect(at(triples, 0, 1)).toHaveLength(1);
    expect(at(triples, 0, 0, 1)).toBeUndefined();
    expect(at(triples, 0, 1, 0, 1, 1)).toBeUndefined();
  });

  test("nothing is made up for what was not measured", () => {
    expect(policyOf(VM, { platform: "snp", epoch: 1, product: "EPYC" }, DRAFT)).toBeUndefined();
    expect(policyOf(VM, { platform: "tdx", epoch: 1, product: "EPYC" }, DRAFT)).toBeUndefined();
  });
});

test("the same record gives the same bytes, and another launch or VM other ids", () => {
  const bytes = (vm: string, record: AttestationRecord) =>
    Buffer.from(policyOf(vm, record, DRAFT) ?? "").toString("hex");
  expect(bytes(VM, SNP)).toBe(bytes(VM, { ...SNP }));
  const ids = [corimIdsOf(VM, 1, "snp"), corimIdsOf(VM, 2, "snp"), corimIdsOf(OID_NAMESPACE, 1, "snp")];
  expect(new Set(ids.flatMap(({ corim, tag }) => [corim, tag])).size).toBe(6);
  expect(String(at(untag(decoded(SNP), 501), 0))).toMatch(/^snp-corim-[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab]/);
});

test("the fixed ids are UUIDs of names, as docs/attestation.md says", () => {
  for (const [name, { id }] of Object.entries(CLASSES))
    expect(id).toBe(nameUuid(OID_NAMESPACE, `drover.class.${name}`));
  expect(nameUuid(OID_NAMESPACE, "Milan")).toBe("1e73b153-b2c2-5f83-950c-a04adab2cb0f");
  const doc = readFileSync(new URL("../../../docs/attestation.md", import.meta.url), "utf8");
  for (const { id } of Object.values(CLASSES)) expect(doc).toContain(id);
});

function bytes(byte: string, count: number): Uint8Array {
  return new Uint8Array(Buffer.from(byte.repeat(count), "hex"));
}
