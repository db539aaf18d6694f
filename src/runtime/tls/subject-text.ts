import { readFile } from "node:fs/promises";
import { DroverError } from "../../contract/errors.ts";
import { certificateSubject, SUBJECT_PARTS } from "./certificate-subject.ts";
import { parseCertificates } from "./certificates.ts";
import { TlsRefused } from "./pem-text.ts";

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
    const [, name = "", value = ""] = /^\s*([A-Za-z]+)\s*=(.+)$/s.exec(part) ?? [];
    const rank = SUBJECT_PARTS.findIndex((known) => known.toLowerCase() === name.toLowerCase());
    return { text: `${SUBJECT_PARTS[rank]}=${value}`, rank };
  });
  if (parts.length === 0 || parts.some(({ rank }) => rank === -1)) {
    throw refused(
      `${JSON.stringify(text)} is no subject: write it like "CN=ops,O=example", with ${SUBJECT_PARTS.join(", ")} only, or name the PEM file of the certificate`,
    );
  }
  return parts
    .sort((a, b) => a.rank - b.rank)
    .map((part) => part.text)
    .join(",");
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
