import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FakeApi, sendProblem } from "./fake-api.ts";
import { runCli } from "./run-cli.ts";

const SIGNED = Buffer.from([0xd2, 0x84, 0xff, 0x00]);
let api: FakeApi;
let dir: string;
beforeEach(async () => {
  api = await FakeApi.start();
  dir = mkdtempSync(join(tmpdir(), "drover-policy-"));
  api.override = ({ path }, response) => {
    if (!path.endsWith("/attestation-policy")) return undefined;
    response.writeHead(200, { "content-type": "application/rim+cose" }).end(SIGNED);
    return true;
  };
});
afterEach(async () => {
  await api[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
});

test("the policy's bytes go into a file, untouched", async () => {
  const { id } = api.add({ state: "running" });
  const file = join(dir, "policy.cbor");
  const run = await runCli(["policy", id.slice(0, 8), "-o", file, "--url", api.url]);
  expect(run).toEqual({ out: "", err: "", exitCode: 0 });
  expect(readFileSync(file).equals(SIGNED)).toBe(true);
  expect(api.seen.at(-1)?.headers.accept).toBe("application/rim+cbor, application/rim+cose, application/problem+json");
});

test("for programs it is base64, and a terminal gets no binary", async () => {
  const { id } = api.add({ state: "running" });
  const { out } = await runCli(["policy", id, "--json", "--url", api.url]);
  expect(JSON.parse(out)).toEqual({ signed: true, policy: SIGNED.toString("base64") });
  const screen = await runCli(["policy", id, "--url", api.url], { outIsScreen: true });
  expect([screen.exitCode, screen.out]).toEqual([2, ""]);
  expect(screen.err).toContain("-o FILE");
});

test("a refusal is shown with its reason, and no file is made", async () => {
  const { id } = api.add({ state: "running" });
  api.override = (_request, response) => {
    sendProblem(response, "policy_unavailable", "it is a plain VM");
    return true;
  };
  const run = await runCli(["policy", id, "-o", join(dir, "none"), "--url", api.url]);
  expect([run.exitCode, run.err]).toEqual([1, expect.stringContaining("it is a plain VM")]);
  expect(() => readFileSync(join(dir, "none"))).toThrow(/ENOENT/);
});
