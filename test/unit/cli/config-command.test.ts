import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { displayWidth } from "../../../src/cli/render/text-width.ts";
import { runCli } from "./run-cli.ts";

const KEY = `k1:${Buffer.alloc(32, 7).toString("base64")}`;
const HOME = { HOME: "/home/somebody" };

test("shows every value with its source in 80 columns, secrets masked", async () => {
  const { out, exitCode } = await runCli(["config"], {
    env: {
      ...HOME,
      MANAGER_MAX_VMS: "4",
      REDIS_URL: "redis://:hunter2@127.0.0.1:1",
      DROVER_SECRETS_KEY: KEY,
      MANAGER_QEMU_KERNEL_CMDLINE: "word ".repeat(40),
    },
  });
  expect(exitCode).toBe(0);
  for (const line of out.split("\n")) expect(displayWidth(line), line).toBeLessThanOrEqual(80);
  expect(out).toMatch(/^ {2}MANAGER_MAX_VMS +4 +set$/m);
  expect(out).toMatch(/^ {2}MANAGER_QEMU_MACHINE +q35 +default$/m);
  expect(out).toContain("set as REDIS_URL");
  expect(out.match(/word/g)).toHaveLength(40);
  expect(out).not.toContain("hunter2");
  expect(out).not.toContain(KEY.slice(3));
});

test("--changed leaves the defaults out, --json is for programs", async () => {
  const env = { ...HOME, MANAGER_MAX_VMS: "4", MANAGER_MAXVMS: "5" };
  expect((await runCli(["config", "--changed"], { env })).out).toBe(
    `Manager
  MANAGER_MAX_VMS  ${"4".padEnd(50)}  set
`,
  );
  const { values, warnings } = JSON.parse((await runCli(["config", "--json"], { env })).out);
  expect(values).toContainEqual({ group: "Manager", name: "MANAGER_MAX_VMS", value: "4", source: "env" });
  expect(warnings).toEqual([{ field: "MANAGER_MAXVMS", message: expect.stringContaining("MANAGER_MAX_VMS") }]);
});

test("tells all problems at once and ends with 2", async () => {
  const env = { ...HOME, MANAGER_QEMU_ENABLE_KVM: "yes", MANAGER_HTTP_PORT: "x", DROVER_STATE_DIR: "relative" };
  const { out, err, exitCode } = await runCli(["config"], { env });
  expect([out, exitCode]).toEqual(["", 2]);
  for (const name of ["MANAGER_QEMU_ENABLE_KVM", "MANAGER_HTTP_PORT", "DROVER_STATE_DIR"])
    expect(err).toContain(`  - ${name}: `);
  const json = await runCli(["config", "--json"], { env });
  expect(JSON.parse(json.err).error.problems).toHaveLength(3);
});

test("explain prints a command that can be pasted, and nothing of it is cut", async () => {
  const { out, exitCode } = await runCli(["explain", "--result", "--on-reboot", "end"], {
    env: { ...HOME, DROVER_FIRMWARE: "seabios", MANAGER_QEMU_KERNEL_CMDLINE: "a b" },
  });
  expect(exitCode).toBe(0);
  const [, , first, ...rest] = out.trimEnd().split("\n");
  expect(first).toBe("qemu-system-x86_64 \\");
  for (const line of rest.slice(0, -1)) expect(line).toMatch(/^ {2}-.* \\$/);
  expect(out).toContain("name=drover.result");
  expect(out).toContain("-no-reboot");
  expect(out).not.toContain("pflash");
  const json = JSON.parse((await runCli(["explain", "--json"], { env: HOME })).out);
  expect(json).toMatchObject({ binPath: "qemu-system-x86_64", tee: expect.any(String) });
  expect(json.cocos[0]).toBe("-enable-kvm");
  expect(json.drover[0]).toBe("-uuid");
});

test("explain shows what a host with a TEE and a GPU would run", async () => {
  const env = { ...HOME, MANAGER_QEMU_GPU_BDF: "0000:41:00.0" };
  const tdx = JSON.parse((await runCli(["explain", "--tee", "tdx", "--json"], { env })).out);
  expect(tdx).toMatchObject({ tee: "tdx", gpu: "0000:41:00.0" });
  expect(tdx.cocos.join(" ")).toMatch(/vfio-pci,host=0000:41:00\.0.*"qom-type":"tdx-guest".*-nodefaults/);
  expect(tdx.drover).not.toContain("pvpanic");
  const { out } = await runCli(["explain", "--tee", "snp", "--no-gpu"], { env });
  expect(out).toContain("# TEE: snp. GPU: none.");
  expect(out).toContain("-object sev-snp-guest,");
  expect(out).not.toContain("vfio");
});

test("explain --cocos gives the arguments of a case as a JSON array, or Cocos's refusal", async () => {
  const case_ = (env: object) => ({ stdin: JSON.stringify({ env }) });
  const words = ["explain", "--cocos", "--case", "-", "--json"];
  const good = await runCli(words, case_({ MANAGER_QEMU_MACHINE: "pc" }));
  expect(JSON.parse(good.out)).toEqual(expect.arrayContaining(["-machine", "pc"]));
  const bad = await runCli(words, case_({ MANAGER_QEMU_SMP_COUNT: "x" }));
  expect(JSON.parse(bad.out)).toEqual({ error: { code: expect.any(String), message: expect.any(String) } });
  expect([good.exitCode, bad.exitCode]).toEqual([0, 0]);
  expect((await runCli(words, { stdin: "no json" })).exitCode).toBe(2);
  expect((await runCli(["explain", "--cocos"])).exitCode).toBe(2);
});

test("explain --cocos gives what Cocos gives, for every golden case", async () => {
  const cases = JSON.parse(readFileSync("test/fixtures/goldens/qemu-args.json", "utf8"));
  expect(cases.length).toBeGreaterThan(10);
  for (const one of cases) {
    const setting = { stdin: JSON.stringify(one), env: { MANAGER_QEMU_MACHINE: "not-looked-at" } };
    const { out, exitCode } = await runCli(["explain", "--cocos", "--case", "-", "--json"], setting);
    expect(exitCode).toBe(0);
    const refused = one.parseError !== undefined || one.validateError !== undefined;
    if (refused) expect(JSON.parse(out), one.name).toHaveProperty("error.message");
    else expect(JSON.parse(out), one.name).toEqual(one.args);
  }
});
