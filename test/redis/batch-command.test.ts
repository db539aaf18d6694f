import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Interrupted } from "../../src/cli/interrupted.ts";
import { BatchResult, BatchView } from "../../src/contract/batch.ts";
import { itemOfVmId } from "../../src/runtime/batch-id.ts";
import { type BatchWorld, openBatchWorld } from "../helpers/batch-world.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { type CliSetting, runCli } from "../unit/cli/run-cli.ts";
import { type HttpWorld, openHttpWorld } from "./http-world.ts";

let host: BatchWorld;
let world: HttpWorld;
let dir: string;

beforeAll(async () => {
  host = openBatchWorld();
  world = await openHttpWorld({ listen: true, env: { DROVER_REDIS_PREFIX: host.keys.prefix } });
  dir = await mkdtemp(join(tmpdir(), "drover-batch-"));
});
afterAll(async () => {
  await world[Symbol.asyncDispose]();
  await host[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

function drover(words: string, setting: CliSetting = {}) {
  return runCli(words.split(" "), { env: { DROVER_URL: world.url }, ...setting });
}

async function fileOf(name: string, text: string): Promise<string> {
  const path = join(dir, name);
  await writeFile(path, text);
  return path;
}

function view(out: string): BatchView {
  return BatchView.parse(JSON.parse(out));
}

/** Ends every VM that waits, until the API says that the batch has ended. */
async function workOff(id: string, outcome: (vmId: string) => "completed" | "failed" = () => "completed") {
  return waitFor(
    async () => {
      await host.runAll(outcome);
      return (await host.batch(id)).state === "ended";
    },
    { what: "the batch to end" },
  );
}

const TEN = Array.from({ length: 10 }, (_, index) => `${JSON.stringify({ name: `n${index}` })}\n`).join("");

test("a file is submitted, watched to its end and read back", async () => {
  const path = await fileOf("ten.ndjson", TEN);
  const waiting = drover(`batch submit -f ${path} --wait --name night --max-parallel 3 --label team=a --ttl 1h`);
  const id = await waitFor(async () => (await host.batches.list({ limit: 1 })).batches[0]?.batchId);
  await workOff(id, (vmId) => ((itemOfVmId(vmId)?.index ?? 0) % 5 === 0 ? "failed" : "completed"));
  const { out, err, exitCode } = await waiting;
  const batch = view((await drover(`batch get ${id.slice(0, 9)} --json`)).out);
  expect(batch).toMatchObject({ name: "night", maxParallel: 3, total: 10, state: "ended" });
  expect(batch.counts).toMatchObject({ completed: 8, failed: 2 });
  expect(exitCode).toBe(1);
  expect(out).toBe(`${id}\n`);
  expect(err).toMatch(/^\d+ of 10 ended \(\d+ %\), \d+ under way/);
  expect(err).toContain("10 of 10 ended (100 %)");
  expect(err).toMatch(/\n10 requests in .*: 8 completed, 2 failed\nfailed: 2 kernel_missing\n/);
  for (const line of err.split("\n")) expect(line.length).toBeLessThanOrEqual(80);

  const results = await drover(`batch results ${id}`);
  const ended = results.out
    .trim()
    .split("\n")
    .map((line) => BatchResult.parse(JSON.parse(line)));
  // A line with the options of the command stands before those of the file.
  expect(ended.map(({ index, name, line }) => [index, name, line])).toEqual(
    Array.from({ length: 10 }, (_, index) => [index, `n${index}`, index + 2]),
  );
  const [table] = [(await drover("batch ls")).out];
  expect(table).toMatch(/^ID +STATE +AGE +ENDED .*\n/);
  expect(table).toContain(id);
});

test("what failed is launched again, by cause", async () => {
  const path = await fileOf("one.ndjson", "{}\n{}\n");
  const id = (await drover(`batch submit -f ${path}`)).out.trim();
  await workOff(id, () => "failed");
  const shown = await drover(`batch get ${id}`);
  expect(shown.out).toMatch(/2 of 2 ended[\s\S]*failures +2 kernel_missing/);
  expect((await drover(`batch retry ${id} --cause boot_timeout`)).out).toContain("0 launched again");
  const again = await drover(`batch retry ${id} --cause kernel_missing`);
  expect(again).toMatchObject({ exitCode: 0, out: `${id}  active, 2 launched again\n` });
  const waiting = drover(`batch submit -f ${path} --idempotency-key no-other --wait --json`);
  await workOff(id);
  expect(view((await drover(`batch get ${id} --json`)).out)).toMatchObject({ outcome: "completed" });
  const ended = { done: false };
  void waiting.finally(() => Object.assign(ended, { done: true }));
  await waitFor(async () => {
    await host.runAll();
    return ended.done;
  });
  expect(view((await waiting).out).outcome).toBe("completed");
});

test("Ctrl-C leaves the batch alone and says how to come back; cancelling ends it", async () => {
  const abort = new AbortController();
  const submitted: string[] = [];
  const waiting = drover("batch submit -f - -w", {
    stdin: TEN,
    signal: abort.signal,
    onOut: (text) => submitted.push(text),
  });
  const id = (await waitFor(() => submitted[0])).trim();
  abort.abort(new Interrupted("SIGINT"));
  const { err, exitCode } = await waiting;
  expect(exitCode).toBe(130);
  expect(err).toContain(`The batch goes on: drover batch get ${id.slice(0, 9)}`);
  expect(view((await drover(`batch get ${id} --json`)).out).state).toBe("active");
  expect((await drover(`batch cancel ${id}`)).exitCode).toBe(0);
  await waitFor(async () => (await host.batch(id)).state === "ended");
  expect((await drover(`batch submit -f - --wait --timeout 1s`, { stdin: TEN })).exitCode).toBe(5);
});

test("wrong lines are told with their numbers in the file, the first of them and the count", async () => {
  const path = await fileOf("bad.ndjson", `${"{}\n"}${'{"ttl":"x"}\n'.repeat(30)}`);
  for (const flags of ["", " --name x"]) {
    const { err, exitCode, out } = await drover(`batch submit -f ${path}${flags}`);
    expect([exitCode, out]).toEqual([2, ""]);
    expect(err).toMatch(/^error: 30 of 31 requests are not valid, and nothing was accepted/);
    expect(err).toContain("  - line 2, ttl: ");
    expect(err).toContain("  - line 21, ttl: ");
    expect(err).not.toContain("line 22");
    expect(err).toContain("  - and 10 more");
  }
  const partial = await drover(`batch submit -f ${path} --partial`);
  expect(partial.exitCode).toBe(0);
  expect(partial.err).toMatch(/^left out: 30 requests/);
  const json = await drover(`batch submit -f ${path} --json`);
  expect(JSON.parse(json.err).error.problems).toHaveLength(30);
});

test.each([
  ["a list", "[{},\n {}]", "--name x --priority high"],
  ["a list without options", "[{}, {}]", ""],
  ["an object over many lines", '{\n "name": "x",\n "items": [{}, {}]\n}', ""],
  ["lines with a head", '{"batch":{"name":"y","defaults":{"labels":{"a":"b"}}}}\n{}\n{}', "--name x --label c=d"],
])("%s is submitted", async (_what, text, flags) => {
  const { out, err } = await drover(`batch submit -f - --json ${flags}`.trim(), { stdin: text });
  expect(err).toBe("");
  const batch = JSON.parse(out);
  expect(batch).toMatchObject({ total: 2, name: flags === "" && !text.includes("name") ? null : "x" });
});

test.each([
  ["batch submit", 2, /--file/],
  ["batch submit -f /nowhere/x", 2, /cannot be read/],
  ["batch submit -f - --max-parallel 0", 2, /whole number/],
  ["batch get 0000", 3, /no batch has an id that starts with 0000/],
  ["batch get zz", 2, /no batch id/],
  ["batch cancel 0000-8000-8000-000000000000", 3, /batch ls/],
])("%s ends with %i", async (words, exitCode, message) => {
  const ran = await drover(words);
  expect(ran.exitCode).toBe(exitCode);
  expect(ran.err).toMatch(message);
});

test("an upload whose answer was lost is sent again with its key: one batch", async () => {
  const before = (await host.batches.list({ limit: 100 })).batches.length;
  const keysSeen: unknown[] = [];
  // Stands before the API and loses its first answer.
  const lossy = createServer((request, response) => {
    keysSeen.push(request.headers["idempotency-key"]);
    const onwards = httpRequest(
      `${world.url}${request.url}`,
      { method: "POST", headers: request.headers },
      (answer) => {
        if (keysSeen.length === 1) return void answer.resume().once("end", () => response.destroy());
        response.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(response);
      },
    );
    request.pipe(onwards);
  }).listen(0, "127.0.0.1");
  await once(lossy, "listening");
  const address = lossy.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const path = await fileOf("lost.ndjson", TEN);
  const { out, err, exitCode } = await drover(`--url http://127.0.0.1:${port} batch submit -f ${path}`);
  lossy.close();
  expect(exitCode).toBe(0);
  expect(err).toMatch(/^trying again: connection failed\nThis key was used before/);
  expect(keysSeen).toHaveLength(2);
  expect(new Set(keysSeen).size).toBe(1);
  const batches = (await host.batches.list({ limit: 100 })).batches;
  expect(batches.length).toBe(before + 1);
  expect(out).toBe(`${batches[0]?.batchId}\n`);
});
