import { chmodSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadConfig } from "../../../../src/runtime/config/load-config.ts";
import { readClientMaterial } from "../../../../src/runtime/tls/client-material.ts";
import { readListenerMaterial } from "../../../../src/runtime/tls/listener-material.ts";
import { openCertificates, type TestAuthority, type TestCertificate } from "../../../helpers/certificates.ts";

const pki = openCertificates();
const RSA_1024 = ["-newkey", "rsa:1024", "-nodes"];
const DAY_MS = 86_400_000;
let ca: TestAuthority;
let other: TestAuthority;
let server: TestCertificate;

beforeAll(async () => {
  [ca, other] = await Promise.all([pki.authority("/CN=ca"), pki.authority("/CN=other")]);
  server = await ca.issue({ subject: "/CN=server" });
});
afterAll(() => pki[Symbol.asyncDispose]());

const listenerOf = (values: Record<string, string>) => ({ ...loadConfig({}).config.http, ...values });
const read = (values: Record<string, string>, nowMs = Date.now()) =>
  readListenerMaterial(
    listenerOf({ serverCert: server.certFile, serverKey: server.keyFile, ...values }),
    "MANAGER_HTTP",
    nowMs,
  );
/** What is wrong, as `variable: message` lines. */
const problemsOf = (values: Record<string, string>, nowMs?: number) =>
  (read(values, nowMs).problems ?? []).map(({ field, message }) => `${field}: ${message}`).join("\n");
const warnedOf = (values: Record<string, string>) => read(values).material?.warnings.map(({ field }) => field);

describe("what a start refuses, by the variable's name", () => {
  test("a file that is not there, and a directory", () => {
    expect(problemsOf({ serverKey: "/nowhere/key.pem" })).toMatch(
      /^MANAGER_HTTP_SERVER_KEY: the file \/nowhere\/key\.pem cannot be read \(ENOENT\)/,
    );
    expect(problemsOf({ serverCert: pki.dir })).toMatch(/^MANAGER_HTTP_SERVER_CERT: .* is not a file/);
  });

  test("a key that was put there without its PEM lines is not shown", () => {
    const bare = server.key.replace(/-----.*-----\n/g, "").replaceAll("\n", "");
    expect(problemsOf({ serverKey: bare })).toMatch(/^MANAGER_HTTP_SERVER_KEY: the value \(not shown\)/);
    expect(problemsOf({ serverKey: bare })).not.toContain(bare.slice(0, 16));
  });

  test("the wrong thing in the right place", () => {
    expect(problemsOf({ serverCert: server.keyFile })).toMatch(/^MANAGER_HTTP_SERVER_CERT: holds no certificate/);
    expect(problemsOf({ serverKey: server.certFile })).toMatch(/^MANAGER_HTTP_SERVER_KEY: holds no private key/);
    expect(problemsOf({ clientCaCerts: server.keyFile })).toMatch(/^MANAGER_HTTP_CLIENT_CA_CERTS: holds no cert/);
    const damaged = server.cert.replace(/\n[A-Za-z0-9+/]{20}/, "\nAAAAAAAAAAAAAAAAAAAA");
    expect(problemsOf({ serverCert: damaged })).toMatch(/^MANAGER_HTTP_SERVER_CERT: certificate 1 of it is damaged/);
  });

  test("the key of another certificate", async () => {
    const stranger = await ca.issue({ subject: "/CN=stranger" });
    expect(problemsOf({ serverKey: stranger.keyFile })).toMatch(/^MANAGER_HTTP_SERVER_KEY: the key does not belong/);
  });

  test("an encrypted key", async () => {
    const encrypted = join(pki.dir, "encrypted.key");
    await execa("openssl", ["pkey", "-in", server.keyFile, "-aes256", "-passout", "pass:x", "-out", encrypted]);
    expect(problemsOf({ serverKey: encrypted })).toMatch(
      /^MANAGER_HTTP_SERVER_KEY: the key is encrypted.*openssl pkey/,
    );
  });

  test("a certificate whose time is over, or has not come", async () => {
    const expired = await ca.issue({ subject: "/CN=old", days: -1 });
    expect(problemsOf({ serverCert: expired.certFile, serverKey: expired.keyFile })).toMatch(
      /^MANAGER_HTTP_SERVER_CERT: the certificate expired at \d{4}-/,
    );
    expect(problemsOf({}, Date.now() - 2 * DAY_MS)).toMatch(/^MANAGER_HTTP_SERVER_CERT: .* is not valid before/);
  });

  test("a weak key", async () => {
    const weak = await ca.issue({ subject: "/CN=weak", newkey: RSA_1024 });
    expect(problemsOf({ serverCert: weak.certFile, serverKey: weak.keyFile })).toMatch(/1024 bits, which is too weak/);
  });

  test("everything at once", () => {
    const fields = read({ serverCert: "/a.pem", serverKey: "/b.pem", clientCaCerts: "/c.pem" }).problems;
    expect(fields?.map(({ field }) => field)).toEqual([
      "MANAGER_HTTP_SERVER_CERT",
      "MANAGER_HTTP_SERVER_KEY",
      "MANAGER_HTTP_CLIENT_CA_CERTS",
    ]);
  });
});

describe("what a start takes", () => {
  test("paths and PEM text give the same", () => {
    const byPath = read({}).material;
    const byText = read({ serverCert: server.cert, serverKey: server.key }).material;
    expect(byPath?.digest).toBe(byText?.digest);
    expect(byPath?.clientCa).toBeUndefined();
    expect(byPath?.expiresAtMs).toBeGreaterThan(Date.now() + 29 * DAY_MS);
  });

  test("the server's CA asks clients for nothing; the clients' CA does", () => {
    expect(read({ serverCaCerts: ca.certFile }).material?.clientCa).toBeUndefined();
    expect(read({ clientCaCerts: other.certFile }).material?.clientCa?.toString()).toContain("BEGIN CERTIFICATE");
  });

  test("what stands between the certificate and the root is taken from the server's CA, the root is not", async () => {
    const between = await ca.issueAuthority("/CN=between");
    const leaf = await between.issue({ subject: "/CN=leaf" });
    const values = { serverCert: leaf.certFile, serverKey: leaf.keyFile };
    const sent = read({ ...values, serverCaCerts: ca.cert + between.cert }).material?.cert.toString();
    expect(sent?.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    expect(warnedOf({ ...values, serverCaCerts: between.cert })).toEqual([]);
    expect(warnedOf({ ...values, serverCaCerts: other.cert })).toEqual(["MANAGER_HTTP_SERVER_CA_CERTS"]);
  });

  test("with a warning: a key that everybody may read, a certificate for clients, a CA that has expired", async () => {
    const loose = await ca.issue({ subject: "/CN=client", uses: "clientAuth" });
    chmodSync(loose.keyFile, 0o644);
    expect(warnedOf({ serverCert: loose.certFile, serverKey: loose.keyFile })).toEqual([
      "MANAGER_HTTP_SERVER_KEY",
      "MANAGER_HTTP_SERVER_CERT",
    ]);
    const old = await ca.issue({ subject: "/CN=old", days: -1 });
    expect(warnedOf({ clientCaCerts: old.certFile })).toEqual(["MANAGER_HTTP_CLIENT_CA_CERTS"]);
  });
});

test("a client's files are checked alike", () => {
  const names = { caCerts: "CA", clientCert: "CERT", clientKey: "KEY" };
  const of = (files: Record<string, string>) =>
    readClientMaterial({ caCerts: "", clientCert: "", clientKey: "", ...files }, names, Date.now());
  expect(of({}).options).toEqual({ minVersion: "TLSv1.2", ciphers: expect.any(String) });
  expect(of({ caCerts: ca.certFile }).options.ca).toContain("BEGIN CERTIFICATE");
  expect(of({ clientCert: server.certFile }).problems).toEqual([
    { field: "KEY", message: expect.stringContaining("CERT is") },
  ]);
  expect(of({ clientCert: server.certFile, clientKey: other.keyFile }).problems).toEqual([
    { field: "KEY", message: expect.stringContaining("does not belong") },
  ]);
});
