import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { loadConfig } from "../../../src/runtime/config/load-config.ts";
import { reservedPorts } from "../../../src/runtime/config/reserved-ports.ts";
import { readEnvironmentFile, SHIPPED_ENVIRONMENT } from "../../helpers/shipped-environment.ts";
import { runCli } from "../cli/run-cli.ts";

const variables = JSON.parse(readFileSync("test/fixtures/cocos-variables.json", "utf8"));

test("the file holds what Cocos ships, as systemd reads it", () => {
  expect(SHIPPED_ENVIRONMENT).toEqual(variables.shippedEnvironment);
  expect(readEnvironmentFile("# c\n; c\n\nA=\"\"\nB='x y'\nC=1 \n")).toEqual({ A: "", B: "x y", C: "1" });
});

test("it is taken unmodified, and every surprise in it is named", () => {
  const { config, warnings } = loadConfig(SHIPPED_ENVIRONMENT, { isRoot: true });
  expect(config.http).toMatchObject({ host: "0.0.0.0", port: 6102 });
  expect(config.grpc).toMatchObject({ host: "0.0.0.0", port: 6101 });
  expect(config.qemu.memory.size).toBe("25G");
  expect(reservedPorts(config)).toEqual([6101, 6102]);
  const said = Object.fromEntries(warnings.map(({ field, message }) => [field, message]));
  expect(said).toEqual({
    MANAGER_ATTESTATION_POLICY_BINARY: expect.stringContaining("MANAGER_ATTESTATION_POLICY_BINARY_PATH"),
    MANAGER_IGVMMEASURE_BINARY: expect.stringContaining("MANAGER_ATTESTATION_POLICY_BINARY_PATH"),
    MANAGER_GRPC_TIMEOUT: expect.stringContaining("no server reads it"),
    MANAGER_HTTP_HOST: expect.stringMatching(/0\.0\.0\.0 is open to other machines.*drover token add.*DROVER_INSECURE/),
    MANAGER_GRPC_HOST: expect.stringMatching(
      /0\.0\.0\.0.*cocos-cli.*MANAGER_GRPC_CLIENT_CA_CERTS.*DROVER_GRPC_ANONYMOUS/,
    ),
    DROVER_FORWARD_BIND: expect.stringMatching(/VMs' ports are bound to 127\.0\.0\.1.*Set it to 0\.0\.0\.0/),
    MANAGER_HTTP_PORT: expect.stringMatching(/6102 lies in MANAGER_QEMU_HOST_FWD_RANGE \(6100-6200\).*no VM gets it/),
    MANAGER_GRPC_PORT: expect.stringMatching(/6101 lies in MANAGER_QEMU_HOST_FWD_RANGE/),
    MANAGER_QEMU_ENABLE_SEV_SNP: expect.stringMatching(/really switches SEV-SNP off.*Cocos never reads this name/),
    MANAGER_QEMU_ENABLE_TDX: expect.stringMatching(/really switches TDX off/),
    MANAGER_QEMU_USE_SUDO: expect.stringContaining("sudo"),
  });
  expect(warnings).toHaveLength(Object.keys(said).length);
});

test("what makes a surprise none silences it", () => {
  const fields = (env: Record<string, string>) =>
    loadConfig({ ...SHIPPED_ENVIRONMENT, ...env }, { isRoot: true }).warnings.map(({ field }) => field);
  const names = ["MANAGER_HTTP_HOST", "MANAGER_GRPC_HOST", "MANAGER_QEMU_ENABLE_SEV_SNP", "MANAGER_QEMU_ENABLE_TDX"];
  const home = { MANAGER_HTTP_HOST: "127.0.0.1", MANAGER_GRPC_HOST: "localhost" };
  const detected = { MANAGER_QEMU_ENABLE_SEV_SNP: "", MANAGER_QEMU_ENABLE_TDX: "" };
  expect(fields({ ...home, ...detected }).filter((field) => names.includes(field))).toEqual([]);
  for (const bind of ["127.0.0.1", "0.0.0.0"])
    expect(fields({ DROVER_FORWARD_BIND: bind })).not.toContain("DROVER_FORWARD_BIND");
  expect(fields(home)).not.toContain("DROVER_FORWARD_BIND");
  expect(fields({ DROVER_REDIS_URL: "rediss://u:p@redis.example:6379" })).not.toContain("DROVER_FORWARD_BIND");
  expect(fields({ DROVER_GRPC_ANONYMOUS: "submitter" })).not.toContain("MANAGER_GRPC_HOST");
  const insecure = loadConfig({ ...SHIPPED_ENVIRONMENT, DROVER_INSECURE: "true" }, { isRoot: true }).warnings;
  for (const name of ["MANAGER_HTTP_HOST", "MANAGER_GRPC_HOST"])
    expect(insecure.find(({ field }) => field === name)?.message).toContain("whoever reaches it");
});

test("drover config prints it, with its warnings", async () => {
  const { out, err, exitCode } = await runCli(["config", "--changed"], {
    env: { HOME: "/root", ...SHIPPED_ENVIRONMENT },
  });
  expect(exitCode).toBe(0);
  expect(out).toMatch(/^ {2}MANAGER_QEMU_OVMF_CODE_FILE +\/usr\/share\/edk2\/x64\/OVMF_CODE\.fd +set$/m);
  expect(err.match(/^warning: /gm)).toHaveLength(11);
});
