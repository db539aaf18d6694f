import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { LaunchFailure } from "../../../src/contract/causes.ts";
import { splitRequest } from "../../../src/contract/vm-request.ts";
import { environmentFile, guestCertificates, quoteEnvironmentValue } from "../../../src/qemu/environment-file.ts";

const Golden = z.array(
  z.object({
    name: z.string(),
    createReq: z.record(z.string(), z.string()),
    environmentLinesSorted: z.array(z.string()),
    certFiles: z.record(z.string(), z.string()),
  }),
);
const goldenFile = new URL("../../fixtures/goldens/environment.json", import.meta.url);
const goldens = Golden.parse(JSON.parse(readFileSync(goldenFile, "utf8")));
const VM_ID = "0b6f5f1e-0000-4000-8000-000000000001";

test("there are golden cases", () => expect(goldens.length).toBeGreaterThan(1));

test.each(goldens)("environment and certificates are those of Cocos: $name", (golden) => {
  const { spec, secrets } = request(golden.createReq);
  expect(environmentFile(VM_ID, spec, secrets).trimEnd().split("\n").sort()).toEqual(golden.environmentLinesSorted);
  const certificates = guestCertificates(spec, secrets);
  const sizes = Object.fromEntries(
    Object.entries(golden.certFiles).map(([file, text]) => [file, Number(text.split("size ")[1])]),
  );
  expect({
    "cert.pem": certificates.cert.length,
    "key.pem": certificates.key.length,
    "ca.pem": certificates.ca.length,
  }).toEqual(sizes);
});

test("PEM text is written as it is", () => {
  const pem = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n";
  expect(guestCertificates({ agentCvmClientCert: pem }, {}).cert.toString()).toBe(pem);
});

test.each(["plain", "https://x/y?a=b&c=$d", "a'b\"c", "#no comment", ";nor this", "tail\u00a0", "ünïcode", "a b", ""])(
  "a value that systemd reads unchanged stays byte-identical to Cocos: %j",
  (value) => {
    expect(quoteEnvironmentValue("X", value)).toBe(value);
    expect(readAsSystemd(`X=${value}\n`)).toEqual({ X: value });
  },
);

test.each([
  [" leading", '" leading"'],
  ["trailing ", '"trailing "'],
  ['"quoted"', '"\\"quoted\\""'],
  ["'single", '"\'single"'],
  ["back\\slash", '"back\\\\slash"'],
  [" $HOME `id`", '" \\$HOME \\`id\\`"'],
])("a value that systemd would change is quoted: %j", (value, line) => {
  expect(quoteEnvironmentValue("X", value)).toBe(line);
});

test("whatever one-line value is written, systemd reads it back", () => {
  const value = fc.string({ unit: fc.constantFrom(..." '\"\\`$#;=abü\u00a0"), maxLength: 12 });
  fc.assert(
    fc.property(value, value, (first, second) => {
      const text = `A=${quoteEnvironmentValue("A", first)}\nB=${quoteEnvironmentValue("B", second)}\n`;
      expect(readAsSystemd(text)).toEqual({ A: first, B: second });
    }),
  );
});

test("no control character gets into the file, whoever let it through", () => {
  for (let code = 0; code < 0x20; code += 1) {
    const spec = { agentLogLevel: `info${String.fromCharCode(code)}AGENT_VMPL=2` };
    expect(() => environmentFile(VM_ID, spec, {}), `code ${code}`).toThrow(LaunchFailure);
  }
  expect(() => environmentFile(VM_ID, {}, { agentCertsToken: "a\u007f" })).toThrow(/AGENT_CERTS_TOKEN/);
});

function request(createReq: Record<string, string>) {
  const fields = Object.entries(createReq).map(([name, value]) => [name[0]?.toLowerCase() + name.slice(1), value]);
  return splitRequest(Object.fromEntries(fields));
}

/** An EnvironmentFile= reader with the states and rules that systemd documents and its src/basic/env-file.c has. */
function readAsSystemd(text: string): Record<string, string> {
  const read: Record<string, string> = {};
  let state = "pre-key";
  let key = "";
  let value = "";
  let blanksFrom = -1;
  const push = () => {
    read[key] = value;
    key = "";
    value = "";
    state = "pre-key";
  };
  for (const char of text) {
    const isNewline = char === "\n" || char === "\r";
    const isBlank = isNewline || char === " " || char === "\t";
    if (state === "pre-key") {
      if (char === "#" || char === ";") state = "comment";
      else if (!isBlank) {
        state = "key";
        key = char;
      }
    } else if (state === "key") {
      if (isNewline) state = "pre-key";
      else if (char === "=") state = "pre-value";
      else key += char;
    } else if (state === "pre-value") {
      if (isNewline) push();
      else if (char === "'") state = "single";
      else if (char === '"') state = "double";
      else if (char === "\\") state = "value-escape";
      else if (!isBlank) {
        state = "value";
        value += char;
        blanksFrom = -1;
      }
    } else if (state === "value") {
      if (isNewline) {
        if (blanksFrom >= 0) value = value.slice(0, blanksFrom);
        push();
      } else if (char === "\\") {
        state = "value-escape";
        blanksFrom = -1;
      } else {
        if (!isBlank) blanksFrom = -1;
        else if (blanksFrom < 0) blanksFrom = value.length;
        value += char;
      }
    } else if (state === "value-escape") {
      state = "value";
      if (!isNewline) value += char;
    } else if (state === "single") {
      if (char === "'") state = "pre-value";
      else value += char;
    } else if (state === "double") {
      if (char === '"') state = "pre-value";
      else if (char === "\\") state = "double-escape";
      else value += char;
    } else if (state === "double-escape") {
      state = "double";
      if ('"\\`$'.includes(char)) value += char;
      else if (char !== "\n") value += `\\${char}`;
    } else if (isNewline) state = "pre-key";
  }
  return read;
}
