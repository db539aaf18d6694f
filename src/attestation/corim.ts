import { type CborValue, cborMap, encodeCbor, tagged } from "./cbor.ts";
import { nameUuid, OID_NAMESPACE, uuidBytes } from "./name-uuid.ts";

/**
 * How the manifest is written. `draft`: as draft-ietf-rats-corim has it, with its tags and names. `cocos`: as Cocos's
 * generator does, without a tag at the top, and with UUIDs for names.
 */
export type CorimShape = "draft" | "cocos";

/** What a verifier shall find in the evidence of a guest. */
export interface CorimContent {
  readonly platform: "snp" | "tdx";
  /** Name of the processor; empty: not said. */
  readonly product: string;
  /** The platform's own SHA-384 values, the launch measurement first. */
  readonly digests: readonly { readonly name: MeasurementName; readonly sha384: Uint8Array }[];
  /** Security version number; 0: not said. */
  readonly svn: number;
  readonly hostData: Uint8Array | undefined;
  /** Registers of the guest's TPM with the digests that they shall hold. */
  readonly pcrs: ReadonlyMap<number, readonly Digest[]>;
}

export interface Digest {
  readonly algorithm: "sha256" | "sha384";
  readonly value: Uint8Array;
}

export type MeasurementName =
  | "measurement"
  | "mrtd"
  | "mrseam"
  | "rtmr0"
  | "rtmr1"
  | "rtmr2"
  | "rtmr3"
  | "host-data"
  | "pcrs";

/** What tells one manifest from others. UUIDs as text. */
export interface CorimIds {
  readonly corim: string;
  readonly tag: string;
  readonly classId: string;
  readonly measurement: (name: MeasurementName) => string;
}

/** IANA Named Information Hash Algorithm Registry. */
const ALGORITHM_IDS = { sha256: 1, sha384: 7 } as const;

const TAG = { uuid: 37, corim: 501, comid: 506, svn: 552, bytes: 560 } as const;

/** Keys of the maps of draft-ietf-rats-corim. */
const CORIM = { id: 0, tags: 1 } as const;
const COMID = { tagIdentity: 1, triples: 4 } as const;
const TAG_ID = 0;
const REFERENCE_TRIPLES = 0;
const ENVIRONMENT = { class: 0, instance: 1 } as const;
const CLASS = { id: 0, vendor: 1, model: 2 } as const;
const MEASUREMENT = { key: 0, values: 1 } as const;
const VALUES = { svn: 1, digests: 2, rawValue: 4, integrityRegisters: 14 } as const;

/** Where the values of a platform are found, the same in every manifest, so that a verifier can select by it. */
export const CLASSES = {
  snp: { id: "beb32c25-1812-543c-b26d-1cce39161192", vendor: "AMD", model: "SEV-SNP" },
  tdx: { id: "05be70f4-7305-56c6-a508-c5fee982554b", vendor: "Intel", model: "TDX" },
  vtpm: { id: "21a52539-9d87-5970-af0b-8bd2e0c52a4c", vendor: "TCG", model: "TPM 2.0" },
} as const;

/** The UUID that names a measurement in the shape of Cocos. */
function measurementUuid(name: MeasurementName): string {
  return nameUuid(OID_NAMESPACE, `drover.measurement.${name}`);
}

/** The ids of the manifest of one launch: whoever makes it, and however often, they are the same. */
export function corimIdsOf(vmId: string, epoch: number, platform: CorimContent["platform"]): CorimIds {
  return {
    corim: nameUuid(vmId, `corim/${epoch}`),
    tag: nameUuid(vmId, `tag/${epoch}`),
    classId: CLASSES[platform].id,
    measurement: measurementUuid,
  };
}

/** An unsigned manifest. The same content, ids and shape always give the same bytes. */
export function encodeCorim(content: CorimContent, ids: CorimIds, shape: CorimShape): Uint8Array {
  const { platform } = content;
  const comid = cborMap([
    [COMID.tagIdentity, cborMap([[TAG_ID, `${platform}-tag-${ids.tag}`]])],
    [COMID.triples, cborMap([[REFERENCE_TRIPLES, triples(content, ids, shape)]])],
  ]);
  // An earlier draft, which Cocos follows, has the tagged map inside the byte string; now the tag is around it.
  const tag = shape === "draft" ? tagged(TAG.comid, encodeCbor(comid)) : encodeCbor(tagged(TAG.comid, comid));
  const corim = cborMap([
    [CORIM.id, `${platform}-corim-${ids.corim}`],
    [CORIM.tags, [tag]],
  ]);
  return encodeCbor(shape === "draft" ? tagged(TAG.corim, corim) : corim);
}

function triples(content: CorimContent, ids: CorimIds, shape: CorimShape): CborValue {
  const { platform, product, digests, svn, hostData, pcrs } = content;
  const key = (name: MeasurementName) => (shape === "draft" ? name : uuid(ids.measurement(name)));
  const measurement = (name: MeasurementName, values: CborValue) =>
    cborMap([
      [MEASUREMENT.key, key(name)],
      [MEASUREMENT.values, values],
    ]);
  const platformTriple = [
    cborMap([
      [ENVIRONMENT.class, classMap(ids.classId, CLASSES[platform], shape)],
      [ENVIRONMENT.instance, product === "" ? undefined : uuid(nameUuid(OID_NAMESPACE, product))],
    ]),
    [
      ...digests.map(({ name, sha384 }, index) =>
        measurement(
          name,
          cborMap([
            [VALUES.svn, index === 0 && svn > 0 ? tagged(TAG.svn, svn) : undefined],
            [VALUES.digests, [digestArray({ algorithm: "sha384", value: sha384 })]],
          ]),
        ),
      ),
      ...(hostData === undefined
        ? []
        : [measurement("host-data", cborMap([[VALUES.rawValue, tagged(TAG.bytes, hostData)]]))]),
    ],
  ];
  if (pcrs.size === 0) return [platformTriple];
  const registers = new Map([...pcrs].map(([number, values]) => [number, values.map(digestArray)] as const));
  const tpmTriple = [
    cborMap([[ENVIRONMENT.class, classMap(CLASSES.vtpm.id, CLASSES.vtpm, shape)]]),
    [measurement("pcrs", cborMap([[VALUES.integrityRegisters, registers]]))],
  ];
  return [platformTriple, tpmTriple];
}

function classMap(id: string, { vendor, model }: { vendor: string; model: string }, shape: CorimShape): CborValue {
  return cborMap([
    [CLASS.id, uuid(id)],
    [CLASS.vendor, shape === "draft" ? vendor : undefined],
    [CLASS.model, shape === "draft" ? model : undefined],
  ]);
}

function digestArray({ algorithm, value }: Digest): CborValue {
  return [ALGORITHM_IDS[algorithm], value];
}

function uuid(text: string): CborValue {
  return tagged(TAG.uuid, uuidBytes(text));
}
