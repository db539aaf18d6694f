import { execFileSync } from "node:child_process";
import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, verify } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Tag } from "cbor2";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { policyOf } from "../../../src/attestation/attestation-policy.ts";
import { protectedHeader } from "../../../src/attestation/cose-sign.ts";
import { loadSigningKey } from "../../../src/attestation/signing-key.ts";
import { DroverError } from "../../../src/contract/errors.ts";
import { at, comidOf, hex, read, untag } from "./cbor-reader.ts";

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "drover-keys-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const RECORD = { platform: "snp", epoch: 1, product: "EPYC", measurement: "ab".repeat(48) } as const;
const VM = "0b9a8a5e-6a0f-4a53-9d5f-6d1c2e3f4a5b";

function keyFile(name: string, text: string, mode = 0o600): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

function ecKey(curve: string, type: "sec1" | "pkcs8" = "pkcs8"): string {
  return generateKeyPairSync("ec", { namedCurve: curve }).privateKey.export({ type, format: "pem" }).toString();
}

/** CBOR by hand: the Sig_structure of RFC 9052, 4.4, of byte strings below 64 KiB. */
function toBeSigned(header: Buffer, payload: Buffer): Buffer {
  const bstr = (bytes: Buffer): Buffer => {
    const { length } = bytes;
    const head = length < 24 ? [0x40 + length] : length < 256 ? [0x58, length] : [0x59, length >> 8, length & 0xff];
    return Buffer.concat([Buffer.from(head), bytes]);
  };
  const context = Buffer.concat([Buffer.from([0x6a]), Buffer.from("Signature1")]);
  return Buffer.concat([Buffer.from([0x84]), context, bstr(header), bstr(Buffer.alloc(0)), bstr(payload)]);
}

interface Sign1 {
  readonly header: Buffer;
  readonly payload: Buffer;
  readonly signature: Buffer;
}

function sign1Of(bytes: Uint8Array): Sign1 {
  const parts = untag(read(bytes), 18);
  const [header, payload, signature] = [0, 2, 3].map((index) => Buffer.from(hex(at(parts, index)), "hex"));
  expect(at(parts, 1)).toSatisfy((unprotected: unknown) => unprotected instanceof Map && unprotected.size === 0);
  if (header === undefined || payload === undefined || signature === undefined) throw new Error("no COSE_Sign1");
  return { header, payload, signature };
}

function isSignedBy({ header, payload, signature }: Sign1, key: KeyObject, hash: string | null): boolean {
  return verify(hash, toBeSigned(header, payload), { key, dsaEncoding: "ieee-p1363" }, signature);
}

describe("a policy is signed by the key's own kind", () => {
  test.each([
    { what: "P-256 in PKCS#8", pem: () => ecKey("prime256v1"), algorithm: -7, hash: "sha256", length: 64 },
    { what: "P-256 in SEC1", pem: () => ecKey("prime256v1", "sec1"), algorithm: -7, hash: "sha256", length: 64 },
    { what: "P-384 in PKCS#8", pem: () => ecKey("secp384r1"), algorithm: -35, hash: "sha384", length: 96 },
    {
      what: "Ed25519",
      pem: () => generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
      algorithm: -8,
      hash: null,
      length: 64,
    },
  ])("$what", async ({ what, pem, algorithm, hash, length }) => {
    const text = pem();
    const key = await loadSigningKey(keyFile(`${what.replace(/\W+/g, "-")}.pem`, text));
    expect(key.warning).toBeUndefined();
    const policy = policyOf(VM, RECORD, { shape: "draft", signer: { key, name: "Example Ltd." } });
    const sign1 = sign1Of(policy ?? new Uint8Array());
    const publicKey = createPublicKey(text);
    expect(isSignedBy(sign1, publicKey, hash)).toBe(true);
    expect(sign1.signature).toHaveLength(length);
    for (const changed of [
      { ...sign1, payload: flipped(sign1.payload) },
      { ...sign1, header: flipped(sign1.header) },
    ])
      expect(isSignedBy(changed, publicKey, hash)).toBe(false);

    const header = read(sign1.header);
    expect([at(header, 1), at(header, 3)]).toEqual([algorithm, "application/rim+cbor"]);
    const der = publicKey.export({ type: "spki", format: "der" });
    expect(hex(at(header, 4))).toBe(createHash("sha256").update(der).digest("hex"));
    expect(at(read(Buffer.from(hex(at(header, 8)), "hex")), 0, 0)).toBe("Example Ltd.");
    expect(hex(at(comidOf(read(sign1.payload)), 4, 0, 0, 1, 0, 1, 2, 0, 1))).toBe(RECORD.measurement);
  });

  test("openssl, which knows nothing of COSE, verifies what was signed", async () => {
    const path = join(dir, "openssl.pem");
    execFileSync("openssl", ["genpkey", "-algorithm", "ED25519", "-out", path], { stdio: "ignore" });
    chmodSync(path, 0o600);
    const key = await loadSigningKey(path);
    const policy = policyOf(VM, RECORD, { shape: "draft", signer: { key, name: "x" } });
    const { header, payload, signature } = sign1Of(policy ?? new Uint8Array());
    writeFileSync(join(dir, "tbs"), toBeSigned(header, payload));
    writeFileSync(join(dir, "sig"), signature);
    execFileSync("openssl", ["pkey", "-in", path, "-pubout", "-out", join(dir, "pub.pem")]);
    const args = ["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "pub.pem", "-in", "tbs", "-sigfile", "sig"];
    expect(execFileSync("openssl", args, { cwd: dir }).toString()).toMatch(/Verified Successfully/);
  });
});

test("in the shape of Cocos nothing but the signer's name differs from Cocos's header, and the payload has no tag", async () => {
  const goldens: readonly { name: string; cborHex?: string }[] = JSON.parse(
    readFileSync(new URL("../../fixtures/goldens/corim.json", import.meta.url), "utf8"),
  );
  const golden = goldens.find(({ name }) => name === "snp-48-byte-signed")?.cborHex ?? "";
  const key = await loadSigningKey(keyFile("cocos.pem", ecKey("prime256v1")));
  const header = protectedHeader({ key, name: "" }, "cocos");
  expect(Buffer.from(header).toString("hex")).toBe(hex(at(untag(read(Buffer.from(golden, "hex")), 18), 0)));
  const policy = policyOf(VM, RECORD, { shape: "cocos", signer: { key, name: "drover" } });
  expect(read(sign1Of(policy ?? new Uint8Array()).payload)).not.toBeInstanceOf(Tag);
});

describe("a key that cannot sign ends the start, by the variable's name and without a word of the key", () => {
  const rsa = () =>
    generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ type: "pkcs8", format: "pem" });
  test.each([
    ["RSA", () => rsa().toString(), /key of kind rsa/],
    ["P-521", () => ecKey("secp521r1"), /key of kind secp521r1/],
    ["secp256k1", () => ecKey("secp256k1"), /key of kind secp256k1/],
    [
      "a public key",
      () => createPublicKey(ecKey("prime256v1")).export({ type: "spki", format: "pem" }).toString(),
      /no private key/,
    ],
    ["text", () => "SECRET-TEXT", /no private key/],
    [
      "an encrypted key",
      () =>
        generateKeyPairSync("ed25519")
          .privateKey.export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "x" })
          .toString(),
      /passphrase/,
    ],
  ])("%s", async (name, pem, message) => {
    const text = pem();
    const path = keyFile(`bad-${name.replace(/\W+/g, "-")}.pem`, text);
    const error = await loadSigningKey(path).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(DroverError);
    expect(error).toMatchObject({ code: "config_invalid", message: expect.stringMatching(message) });
    expect(String(error)).toMatch(/^DroverError: MANAGER_CORIM_SIGNING_KEY: .*unset MANAGER_CORIM_SIGNING_KEY/);
    expect(String(error)).not.toContain(text.split("\n")[1] ?? "SECRET-TEXT");
  });

  test("no file", async () => {
    await expect(loadSigningKey(join(dir, "none.pem"))).rejects.toThrow(/MANAGER_CORIM_SIGNING_KEY: .*ENOENT/);
  });
});

test("a key that others may read is said", async () => {
  const key = await loadSigningKey(keyFile("open.pem", ecKey("prime256v1"), 0o644));
  expect(key.warning).toMatch(/others may read .*open\.pem \(mode 0644\); chmod 600/);
});

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  const last = copy.length - 1;
  copy.writeUInt8(copy.readUInt8(last) ^ 1, last);
  return copy;
}
