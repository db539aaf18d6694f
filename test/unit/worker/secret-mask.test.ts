import fc from "fast-check";
import { expect, test } from "vitest";
import { SecretMask } from "../../../src/worker/secret-mask.ts";

function throughChunks(mask: SecretMask, output: Buffer, sizes: readonly number[]): string {
  const shown: Buffer[] = [];
  let at = 0;
  for (const size of [...sizes, output.length]) {
    shown.push(mask.push(output.subarray(at, at + size)));
    at = Math.min(at + size, output.length);
  }
  return Buffer.concat([...shown, mask.flush()]).toString();
}

test("a secret does not show, wherever the output is cut", () => {
  const secret = "cc_kbc::http://10.0.2.2:8080";
  fc.assert(
    fc.property(
      fc.string(),
      fc.string(),
      fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 40 }),
      (before, after, sizes) => {
        const shown = throughChunks(new SecretMask([secret]), Buffer.from(`${before}${secret}${after}`), sizes);
        expect(shown).not.toContain(secret);
        expect(shown).toBe(`${before}[secret]${after}`);
      },
    ),
  );
});

test("output without a secret comes through byte for byte, and a secret that contains another is replaced whole", () => {
  const mask = new SecretMask(["password", "password-long"]);
  expect(throughChunks(mask, Buffer.from("pass the password-long, no passwor"), [3, 8, 2, 5])).toBe(
    "pass the [secret], no passwor",
  );
});

test("every line of a PEM key counts, short values do not", () => {
  const mask = new SecretMask(["-----BEGIN KEY-----\nAAAABBBBCCCC\n-----END KEY-----", "eu"]);
  expect(mask.maskText("x AAAABBBBCCCC y eu")).toBe("x [secret] y eu");
});

test("the end of a secret at the beginning of what is left of a text does not show", () => {
  const mask = new SecretMask(["first-half-second-half"]);
  expect(mask.maskText("second-half and more")).toBe("[secret] and more");
  expect(mask.maskText("half of it is no secret")).toBe("half of it is no secret");
});

test("neither half of a secret shows where output in between was lost", () => {
  const mask = new SecretMask(["first-half-second-half"]);
  const before = mask.push(Buffer.from("a first-half"));
  const after = mask.push(Buffer.from("second-half b"), { afterGap: true });
  expect(`${before.toString()}|${after.toString()}${mask.flush().toString()}`).toBe("a |[secret] b");
});
