import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";

const EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

export interface TestCertificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
}

export interface TestAuthority extends TestCertificate {
  /** A certificate of this CA for 127.0.0.1 and localhost. Negative `days`: it has expired. */
  issue(options: {
    subject: string;
    days?: number;
    names?: string;
    uses?: string;
    newkey?: readonly string[];
  }): Promise<TestCertificate>;
  /** A CA below this one. */
  issueAuthority(subject: string): Promise<TestAuthority>;
}

export interface TestCertificates extends AsyncDisposable {
  readonly dir: string;
  authority(subject: string): Promise<TestAuthority>;
}

/** `await using pki = await openCertificates()`: CAs and certificates made by openssl, in a directory that goes with it. */
export function openCertificates(): TestCertificates {
  const dir = mkdtempSync(join(tmpdir(), "drover-pki-"));
  let count = 0;
  const pathsOf = () => {
    count += 1;
    return {
      certFile: join(dir, `${count}.crt`),
      keyFile: join(dir, `${count}.key`),
      request: join(dir, `${count}.csr`),
    };
  };
  const openssl = async (...args: readonly string[]) => void (await execa("openssl", args));
  const read = ({ certFile, keyFile }: { certFile: string; keyFile: string }): TestCertificate => ({
    certFile,
    keyFile,
    cert: readFileSync(certFile, "utf8"),
    key: readFileSync(keyFile, "utf8"),
  });

  const sign = async (
    ca: TestCertificate,
    {
      subject,
      extensions,
      days,
      newkey = EC,
    }: { subject: string; extensions: readonly string[]; days: number; newkey?: readonly string[] },
  ): Promise<TestCertificate> => {
    const { certFile, keyFile, request } = pathsOf();
    const added = extensions.flatMap((extension) => ["-addext", extension]);
    await openssl("req", ...newkey, "-keyout", keyFile, "-out", request, "-subj", subject, ...added);
    const from = ["-in", request, "-CA", ca.certFile, "-CAkey", ca.keyFile, "-copy_extensions", "copy"];
    await openssl("x509", "-req", ...from, "-days", String(days), "-out", certFile);
    return read({ certFile, keyFile });
  };

  const authorityOf = (ca: TestCertificate): TestAuthority => ({
    ...ca,
    issue: ({ subject, days = 30, names = "DNS:localhost,IP:127.0.0.1", uses, newkey }) => {
      const extensions = [`subjectAltName=${names}`, ...(uses === undefined ? [] : [`extendedKeyUsage=${uses}`])];
      return sign(ca, { subject, extensions, days, ...(newkey === undefined ? {} : { newkey }) });
    },
    issueAuthority: async (subject) =>
      authorityOf(await sign(ca, { subject, extensions: ["basicConstraints=critical,CA:TRUE"], days: 30 })),
  });

  return {
    dir,
    async authority(subject) {
      const { certFile, keyFile } = pathsOf();
      await openssl("req", "-x509", ...EC, "-keyout", keyFile, "-out", certFile, "-days", "30", "-subj", subject);
      return authorityOf(read({ certFile, keyFile }));
    },
    async [Symbol.asyncDispose]() {
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
