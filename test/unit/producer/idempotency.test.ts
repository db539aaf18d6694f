import { expect, test } from "vitest";
import { canonicalJson } from "../../../src/contract/canonical-json.ts";
import { isDigestOf, readIdempotencyKey, requestDigest } from "../../../src/producer/idempotency.ts";
import { parseSecretKeys } from "../../../src/runtime/secret-keys.ts";

const key = (id: string, fill: number) => `${id}:${Buffer.alloc(32, fill).toString("base64")}`;
const OLD = parseSecretKeys(key("k1", 1), "test");
const NEW = parseSecretKeys(`${key("k2", 2)},${key("k1", 1)}`, "test");
const PLAIN = { spec: { name: "a", labels: { x: "1", y: "2" } }, secrets: {} };
const SECRET = { spec: { name: "a" }, secrets: { agentCertsToken: "1234" } };

test("the order of names does not matter, that of lists does", () => {
  expect(canonicalJson({ b: 1, a: { d: [1, { f: 1, e: 2 }], c: null } })).toBe(
    '{"a":{"c":null,"d":[1,{"e":2,"f":1}]},"b":1}',
  );
  const swapped = { spec: { labels: { y: "2", x: "1" }, name: "a" }, secrets: {} };
  expect(requestDigest(swapped, OLD)).toBe(requestDigest(PLAIN, OLD));
});

test("a request without secrets has one digest under every key; one with secrets has not", () => {
  expect(requestDigest(PLAIN, OLD)).toBe(requestDigest(PLAIN, NEW));
  expect(requestDigest(SECRET, OLD)).not.toBe(requestDigest(SECRET, NEW));
  expect(requestDigest(SECRET, OLD)).not.toBe(requestDigest({ ...SECRET, secrets: { agentCertsToken: "1235" } }, OLD));
});

test("a digest does not show whether a guessed secret is the right one", () => {
  expect(requestDigest(SECRET, OLD)).toMatch(/^hmac-sha256:k1:/);
});

test("after a change of the key the same request is still known as the same", () => {
  expect(isDigestOf(requestDigest(SECRET, OLD), SECRET, NEW)).toBe(true);
  expect(isDigestOf(requestDigest(SECRET, OLD), { ...SECRET, secrets: { agentCertsToken: "x" } }, NEW)).toBe(false);
  expect(isDigestOf(requestDigest(SECRET, NEW), SECRET, OLD)).toBe(false);
  expect(isDigestOf(requestDigest(PLAIN, OLD), PLAIN, undefined)).toBe(true);
});

test.each(["a", "3d5c-...", "x".repeat(255), '"quoted"'])("%s is a key", (text) => {
  expect(readIdempotencyKey(text)).toBe(text);
});

test.each(["", " ", "a b", "\u00e9", "x".repeat(256)])("%j is none", (text) => {
  expect(() => readIdempotencyKey(text)).toThrow(/Idempotency-Key/);
});
