import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FakeApi } from "./fake-api.ts";
import { runCli } from "./run-cli.ts";

const WARNING = { code: "no_host_fits", message: "No live host serves the pool gpu-farm." } as const;

let api: FakeApi;
let dir = "";

beforeEach(async () => {
  api = await FakeApi.start();
  dir = await mkdtemp(join(tmpdir(), "drover-placement-"));
});

afterEach(async () => {
  await api[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

const run = (...words: string[]) => runCli([...words, "--url", api.url]);
const bodies = () => api.seen.filter(({ method }) => method === "POST").map(({ body }) => JSON.parse(body));

test("flags say which hosts may run a VM; labels of file and flags are kept", async () => {
  const path = join(dir, "request.json");
  await writeFile(path, JSON.stringify({ hostLabels: { zone: "a", disk: "hdd" }, labels: { team: "x" } }));
  const more = ["--memory-class", "large", "--host-label", "disk=ssd", "--host-label", "rack=7"];
  expect((await run("submit", "-f", path, ...more)).exitCode).toBe(0);
  expect(bodies()).toEqual([
    { memoryClass: "large", hostLabels: { zone: "a", disk: "ssd", rack: "7" }, labels: { team: "x" } },
  ]);
  const { err, exitCode } = await run("submit", "--host-label", "zone");
  expect([exitCode, err]).toEqual([2, expect.stringContaining("--host-label zone: write it like zone=a")]);
  expect((await run("submit", "--memory-class", "a+b")).exitCode).toBe(2);
});

test("what stands in the way of a VM is said once, beside its id", async () => {
  api.warnings = [WARNING];
  const one = await run("submit");
  expect(one.err).toContain(`Accepted, but it waits: ${WARNING.message}\n`);
  expect(one.out).toMatch(/^[0-9a-f-]{36}\n$/);
  const path = join(dir, "many.ndjson");
  await writeFile(path, "{}\n{}\n{}\n");
  const many = await run("submit", "-f", path);
  expect(many.err.split(WARNING.message)).toHaveLength(2);
  const json = await run("submit", "--json");
  expect(json.err).toBe("");
  expect(JSON.parse(json.out)).toMatchObject({ warnings: [WARNING] });
});

test("why a VM waits is one line of what is shown of it", async () => {
  const waiting = {
    reason: "hosts_full",
    message: "Of the one host that could run it: 1 full.",
    position: 4,
    retryAt: null,
    hostsThatFit: 1,
    hostsWithRoom: 0,
    freeSlots: 0,
  } as const;
  const spec = { memoryClass: "large", hostLabels: { zone: "a" } };
  const { id } = api.add({ state: "queued", waiting, spec });
  const { out } = await runCli(["get", id, "--url", api.url], { columns: 120 });
  expect(out).toContain("Waits     hosts_full: Of the one host that could run it: 1 full. Place 4 in its queue.\n");
  expect(out).toContain("Needs     memory large, zone=a\n");
  const running = api.add({ state: "running", waiting: null });
  expect((await run("get", running.id)).out).not.toContain("Waits");
});
