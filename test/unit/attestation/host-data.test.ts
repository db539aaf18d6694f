import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { hostDataOf, hostDataText } from "../../../src/attestation/host-data.ts";
import { canonicalJson } from "../../../src/contract/canonical-json.ts";
import { splitRequest, VmRequest } from "../../../src/contract/vm-request.ts";
import { runCli } from "../cli/run-cli.ts";

const PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

test("the text of a request does not depend on how it was written, and its digest is what openssl says", () => {
  const request = {
    ttl: "90m",
    labels: { b: "2", "10": "x", "9": "y" },
    agentCvmServerUrl: "10.0.0.7:7001",
    gpu: false,
  };
  const { spec } = splitRequest(VmRequest.parse(request));
  const text = '{"agentCvmServerUrl":"10.0.0.7:7001","gpu":false,"labels":{"10":"x","9":"y","b":"2"},"ttl":"90m"}';
  expect(hostDataText(spec)).toBe(text);
  const openssl = execFileSync("openssl", ["dgst", "-sha256", "-binary"], { input: text });
  expect(hostDataOf(spec).equals(openssl)).toBe(true);
});

test("canonical JSON is RFC 8785's: its example of sorting", () => {
  const value = { "\u20ac": "Euro Sign", "\r": "Carriage Return", "1": "One", "\ud83d\ude00": "Smiley", "\u00f6": "o" };
  expect(canonicalJson(value)).toBe(
    '{"\\r":"Carriage Return","1":"One","\u00f6":"o","\u20ac":"Euro Sign","\ud83d\ude00":"Smiley"}',
  );
  expect(canonicalJson([1, [undefined, { a: undefined }], "\u2028", null, true])).toBe(
    '[1,[null,{}],"\u2028",null,true]',
  );
});

test("every order of names gives the same text, and JSON reads it back", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
      const turned = Object.fromEntries(Object.entries(value).reverse());
      expect(canonicalJson(turned)).toBe(canonicalJson(value));
      expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
    }),
  );
});

test("secrets and empty fields are no part of it, every other field is", () => {
  const digest = (request: object) => hostDataOf(splitRequest(VmRequest.parse(request)).spec).toString("hex");
  const plain = digest({ name: "a" });
  expect(digest({ name: "a", agentCertsToken: "1234", aaKbsParams: "cc_kbc::x", awsSecretAccessKey: "s" })).toBe(plain);
  expect(digest({ name: "a", ttl: "", agentLogLevel: "" })).toBe(plain);
  for (const field of [
    { ttl: "1m" },
    { agentCvmServerUrl: "x" },
    { pool: "p" },
    { labels: { a: "b" } },
    { tee: "snp" },
  ])
    expect(digest({ name: "a", ...field })).not.toBe(plain);
});

test("a certificate counts by its bytes: as PEM, as base64, and with text before it", () => {
  const text = (value: string) => hostDataText({ agentCvmServerCaCert: value });
  const asPem = text(PEM);
  expect(asPem).toBe(JSON.stringify({ agentCvmServerCaCert: PEM }));
  expect(text(Buffer.from(PEM).toString("base64"))).toBe(asPem);
  expect(text(Buffer.from(`Certificate:\n${PEM}`).toString("base64"))).toBe(asPem);
  const der = Buffer.from([0x30, 0x82, 0xff]).toString("base64");
  expect(text(der)).toBe(JSON.stringify({ agentCvmServerCaCert: der }));
});

test("`drover hostdata` computes it offline from flags and files", async () => {
  const dir = mkdtempSync(join(tmpdir(), "drover-hostdata-"));
  try {
    const file = join(dir, "request.json");
    writeFileSync(file, JSON.stringify({ ttl: "90m", agentCertsToken: "secret" }));
    writeFileSync(join(dir, "ca.pem"), PEM);
    const spec = { ttl: "90m", name: "n", agentCvmServerCaCert: PEM };
    const words = ["hostdata", "-f", file, "--name", "n", "--server-ca", join(dir, "ca.pem")];
    expect(await runCli(words)).toEqual({ out: `${hostDataOf(spec).toString("hex")}\n`, err: "", exitCode: 0 });
    expect((await runCli([...words, "--base64"])).out).toBe(`${hostDataOf(spec).toString("base64")}\n`);
    expect((await runCli([...words, "--text"])).out).toBe(hostDataText(spec));
    expect(JSON.parse((await runCli([...words, "--json"])).out)).toMatchObject({ text: hostDataText(spec) });
    expect((await runCli(["hostdata", "--ttl", "soon"])).exitCode).toBe(2);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
