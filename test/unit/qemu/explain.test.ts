import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { CocosCase, parseCaseFile } from "../../../src/qemu/explain-cocos/case-file.ts";
import { answerAsCocos } from "../../../src/qemu/explain-cocos/cocos-answer.ts";
import { exampleValues, vmCommand } from "../../../src/qemu/vm-command.ts";
import { loadConfig } from "../../../src/runtime/config/load-config.ts";

interface Golden {
  readonly name: string;
  readonly args?: readonly string[] | null;
  readonly parseError?: string;
  readonly validateError?: string;
}

const goldens: Golden[] = ["qemu-args.json", "qemu-args-more.json"].flatMap((file) =>
  JSON.parse(readFileSync(`test/fixtures/goldens/${file}`, "utf8")),
);

test("the goldens are there", () => {
  expect(goldens.length).toBeGreaterThanOrEqual(35);
});

test.each(goldens)("Cocos's own answer to the case $name", (golden) => {
  const { args, parseError, validateError } = golden;
  const answer = answerAsCocos(parseCaseFile(JSON.stringify(golden)));
  if (parseError !== undefined) expect(answer).toEqual({ error: { code: "parse_error", message: parseError } });
  else if (validateError !== undefined) {
    expect(answer).toEqual({ error: { code: "validate_error", message: validateError } });
  } else expect(answer).toEqual({ args });
});

test("the answer depends on the case alone", () => {
  const before = process.env["MANAGER_QEMU_CPU"];
  process.env["MANAGER_QEMU_CPU"] = "not-from-the-case";
  try {
    expect(JSON.stringify(answerAsCocos(CocosCase.parse({})))).not.toContain("not-from-the-case");
  } finally {
    if (before === undefined) delete process.env["MANAGER_QEMU_CPU"];
    else process.env["MANAGER_QEMU_CPU"] = before;
  }
});

describe("a case file", () => {
  test("that is no JSON or does not fit is refused with the fields at fault", () => {
    expect(() => parseCaseFile("{")).toThrow("not valid JSON");
    expect(() => parseCaseFile('{"env": {"A": 1}, "tdx": "yes"}')).toThrow(/env\.A: .*\n {2}tdx: /s);
    expect(() => parseCaseFile("[]")).toThrow("the case file does not fit");
  });
});

describe("the command that a VM would get", () => {
  const { config } = loadConfig({ MANAGER_HTTP_PORT: "6100" }, { isRoot: true });
  const values = exampleValues(config, { tee: "none", gpu: false, forwardBind: "127.0.0.1" });

  test("takes no port of drover's own for the example", () => {
    expect(values.hostPort).toBe(6101);
  });

  test("has the Cocos part first and drover's layer apart from it", () => {
    const { binPath, cocos, drover } = vmCommand(config, values);
    expect(binPath).toBe("qemu-system-x86_64");
    expect(cocos[0]).toBe("-enable-kvm");
    expect(cocos).toContain("user,id=vmnic-11111111-2222-4333-8444-555555555555,hostfwd=tcp:127.0.0.1:6101-:7002");
    expect(drover[0]).toBe("-uuid");
    expect(cocos.filter((arg) => drover.includes(arg) && arg.startsWith("-"))).toEqual([
      "-device",
      "-device",
      "-device",
    ]);
  });

  test("holds key broker parameters on the kernel line as Cocos writes them", () => {
    const { cocos } = vmCommand(config, { ...values, aaKbsParams: "cc_kbc::http://10.0.2.2:8080" });
    expect(cocos[cocos.indexOf("-append") + 1]).toBe(
      "quiet console=null agent.aa_kbc_params=cc_kbc::http://10.0.2.2:8080",
    );
  });
});
