import type { PeerCertificate } from "node:tls";
import { expect, test } from "vitest";
import { certificateSubject, standingSubject } from "../../../../src/runtime/tls/certificate-subject.ts";

const subjectOf = (subject: Record<string, string | string[]>) =>
  certificateSubject({ subject: subject as unknown as PeerCertificate["subject"] });

test("the parts stand in one order, whatever the certificate's", () => {
  expect(subjectOf({ C: "DE", O: "Example", CN: "alice" })).toBe("CN=alice,O=Example,C=DE");
  expect(subjectOf({ OU: ["b", "a"], CN: "x", serialNumber: "1" })).toBe("CN=x,OU=b,OU=a,serialNumber=1");
});

test("no part is left out, so that what tells two subjects apart tells two owners apart", () => {
  expect(subjectOf({ UID: "alice", O: "X" })).toBe("O=X,UID=alice");
  expect(subjectOf({ serialNumber: "5" })).toBe("serialNumber=5");
  expect(subjectOf({ CN: "u", DC: ["org", "x"], C: "DE" })).toBe("CN=u,C=DE,DC=org,DC=x");
});

test("a certificate that expires while its connection stands counts no longer", () => {
  const subject = { CN: "a" } as PeerCertificate["subject"];
  expect(standingSubject({ subject, valid_to: "Nov 24 02:00:00 2126 GMT" })).toBe("CN=a");
  expect(standingSubject({ subject, valid_to: "Nov 24 02:00:00 2016 GMT" })).toBeUndefined();
  expect(standingSubject({ subject, valid_to: "" })).toBeUndefined();
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
