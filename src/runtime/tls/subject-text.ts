import { readFile } from "node:fs/promises";
import { DroverError } from "../../contract/errors.ts";
import { certificateSubject, compareParts, FIRST_PARTS } from "./certificate-subject.ts";
import { parseCertificates } from "./certificates.ts";
import { TlsRefused } from "./pem-text.ts";

/** What else authorities write into subjects, by OpenSSL's short names. */
const OTHER_PARTS = "DC UID serialNumber GN SN title street postalCode dnQualifier pseudonym organizationIdentifier";
const KNOWN_PARTS = [...FIRST_PARTS, ...OTHER_PARTS.split(" ")];

/** One part of a subject, up to a comma that no backslash stands before. */
const PART = /(?:[^,\\]|\\.)+/gs;

/**
 * The subject that a person named: as `CN=ops,O=example`, in any order, or as the PEM file of the certificate. It is
 * written as `certificateSubject` writes it. Throws `invalid_request`.
 */
export async function readSubject(text: string): Promise<string> {
  return text.includes("=") ? normalSubject(text) : subjectOfFile(text);
}

function normalSubject(text: string): string {
  const parts = (text.match(PART) ?? []).map((part) => {
    const [, given = "", value = ""] = /^\s*([A-Za-z]+)\s*=(.+)$/s.exec(part) ?? [];
    const name = KNOWN_PARTS.find((known) => known.toLowerCase() === given.toLowerCase());
    if (name === undefined) throw noSubject(text);
    return { name, value };
  });
  if (parts.length === 0) throw noSubject(text);
  return parts
    .sort((a, b) => compareParts(a.name, b.name))
    .map(({ name, value }) => `${name}=${value}`)
    .join(",");
}

function noSubject(text: string): DroverError {
  return refused(
    `${JSON.stringify(text)} is no subject: write it like "CN=ops,O=example", with ${KNOWN_PARTS.join(", ")} only, or name the PEM file of the certificate`,
  );
}

async function subjectOfFile(path: string): Promise<string> {
  try {
    const [certificate] = parseCertificates(await readFile(path, "utf8"));
    const subject = certificateSubject(certificate.toLegacyObject());
    if (subject !== undefined) return subject;
    throw refused(`the certificate in ${path} has an empty subject, which stands for nobody`);
  } catch (error) {
    if (error instanceof DroverError) throw error;
    const why = error instanceof TlsRefused ? `the file ${error.message}` : "there is no such file that can be read";
    throw refused(`${path}: ${why} (a subject is written like "CN=ops,O=example")`);
  }
}

function refused(message: string): DroverError {
  return new DroverError("invalid_request", `--certificate: ${message}`);
}
