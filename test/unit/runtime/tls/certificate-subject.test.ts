import type { PeerCertificate } from "node:tls";
import { expect, test } from "vitest";
import { certificateSubject } from "../../../../src/runtime/tls/certificate-subject.ts";

const subjectOf = (subject: Record<string, string | string[]>) =>
  certificateSubject({ subject: subject as unknown as PeerCertificate["subject"] });

test("the parts stand in one order, whatever the certificate's", () => {
  expect(subjectOf({ C: "DE", O: "Example", CN: "alice" })).toBe("CN=alice,O=Example,C=DE");
  expect(subjectOf({ OU: ["b", "a"], CN: "x", serialNumber: "1" })).toBe("CN=x,OU=b,OU=a");
});

test("no value can be read as another part", () => {
  expect(subjectOf({ CN: "alice,O=Example" })).toBe("CN=alice\\,O\\=Example");
  expect(subjectOf({ CN: 'a+b"\\;<>' })).toBe('CN=a\\+b\\"\\\\\\;\\<\\>');
  expect(subjectOf({ CN: "a\nO=Example\u0000\u0085" })).toBe("CN=a\\0AO\\=Example\\00\\C2\\85");
  expect(subjectOf({ CN: " #a " })).toBe("CN=\\ #a\\ ");
});

test("an empty subject is none", () => {
  expect(subjectOf({})).toBeUndefined();
});
