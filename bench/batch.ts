/**
 * What it costs to submit: one VM after the other over HTTP against a bare handler that only adds a job, and a batch
 * against bare addBulk of the same requests; what another client waits meanwhile, and how large the API gets.
 *
 *     npm run bench:batch -- [--items 100000] [--rounds 5] [--json FILE]
 *
 * The API, the bare handler, the bare addBulk and Redis (AOF) are processes of their own; this one is the client.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { freePort, startRedis } from "../test/helpers/redis-server.ts";
import { waitFor } from "../test/helpers/wait-for.ts";
import { percentile, probe, submitRate } from "./batch/load.ts";
import { formatSummary, summarize } from "./statistics.ts";

const SINGLES = 3_000;
const CONNECTIONS = 32;
const CANCEL_MAX_MS = 5 * 60_000;

const { values } = parseArgs({
  options: {
    items: { type: "string", default: "100000" },
    rounds: { type: "string", default: "5" },
    json: { type: "string" },
  },
});
const items = Number(values.items);
const rounds = Number(values.rounds);
const run = promisify(execFile);
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

const dir = mkdtempSync(join(tmpdir(), "drbb-"));
const file = join(dir, "batch.ndjson");
writeFileSync(file, Array.from({ length: items }, (_, index) => `${JSON.stringify(itemOf(index))}\n`).join(""));
const redis = await startRedis({ local: true, dir, args: ["--appendonly", "yes", "--appendfsync", "everysec"] });
const api = await startApi();
const bare = await startBare();
try {
  const singles = await measureSingles();
  const batches = await measureBatches();
  report({ singles, batches });
} finally {
  for (const child of [api.child, bare.child]) child.kill("SIGTERM");
  await Promise.all(
    [api.child, bare.child].map((child) => (child.exitCode === null ? once(child, "exit") : undefined)),
  );
  await redis.stop();
  rmSync(dir, { recursive: true, force: true });
}

function itemOf(index: number): object {
  return {
    name: `task-${index}`,
    labels: { run: "nightly", part: String(index % 100) },
    agentCvmServerUrl: `10.0.0.7:${7000 + (index % 1000)}`,
    ttl: "30m",
  };
}

async function startApi() {
  const port = await freePort();
  const env = {
    ...process.env,
    DROVER_STATE_DIR: dir,
    DROVER_REDIS_URL: redis.url,
    DROVER_SECRETS_KEY: `bench:${Buffer.alloc(32, 1).toString("base64")}`,
    MANAGER_HTTP_PORT: String(port),
    MANAGER_GRPC_PORT: "0",
    MANAGER_LOG_LEVEL: "warn",
  };
  const child = spawn(here("../bin/drover"), ["api"], { env, stdio: ["ignore", "ignore", "inherit"] });
  const url = `http://127.0.0.1:${port}`;
  const isReady = async () => (await fetch(`${url}/ready`)).ok;
  await waitFor(isReady, { timeoutMs: 60_000, what: "the API", fatal: () => child.exitCode !== null });
  return { child, url };
}

async function startBare() {
  const args = ["--import", "tsx", here("batch/bare-api.ts"), redis.url];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const [said] = await once(child.stdout, "data");
  return { child, url: String(said).split(" ")[0] ?? "" };
}

async function measureSingles() {
  const rates = { drover: [] as number[], bare: [] as number[] };
  for (let round = -1; round < rounds; round++) {
    const drover = await submitRate(api.url, { total: SINGLES, connections: CONNECTIONS });
    const floor = await submitRate(bare.url, { total: SINGLES, connections: CONNECTIONS });
    if (round < 0) continue; // caches and JIT
    rates.drover.push(drover);
    rates.bare.push(floor);
  }
  return rates;
}

async function measureBatches() {
  const before = peakMb(api.child.pid ?? 0);
  const figures = {
    droverMs: [] as number[],
    bareMs: [] as number[],
    acceptP99Ms: [] as number[],
    cancelP99Ms: [] as number[],
    cancelMs: [] as number[],
    idleP99Ms: [] as number[],
  };
  for (let round = -1; round < Math.min(rounds, 3); round++) {
    const { stdout } = await run(process.execPath, [
      "--import",
      "tsx",
      here("batch/bare-bulk.ts"),
      redis.url,
      `bulk${round}`,
      file,
    ]);
    const idle = await watched(() => delay(2_000));
    const accept = await watched(submitBatch);
    const cancel = await watched(() => cancelBatch(accept.value));
    if (round < 0) continue;
    figures.bareMs.push(Number(stdout));
    figures.droverMs.push(accept.tookMs);
    figures.acceptP99Ms.push(accept.p99Ms);
    figures.cancelMs.push(cancel.tookMs);
    figures.cancelP99Ms.push(cancel.p99Ms);
    figures.idleP99Ms.push(idle.p99Ms);
  }
  return { ...figures, peakBeforeMb: before, peakMb: peakMb(api.child.pid ?? 0) };
}

/** Does something while another client asks for small things. */
async function watched<T>(work: () => Promise<T>): Promise<{ value: T; tookMs: number; p99Ms: number }> {
  const done = new AbortController();
  const waits = probe(api.url, done.signal);
  const begunMs = performance.now();
  const value = await work().finally(() => done.abort());
  return { value, tookMs: performance.now() - begunMs, p99Ms: percentile(await waits, 0.99) };
}

async function submitBatch(): Promise<string> {
  const response = await fetch(`${api.url}/v1/batches`, {
    method: "POST",
    headers: { "content-type": "application/x-ndjson" },
    body: ReadableStream.from(createReadStream(file)),
    duplex: "half",
  });
  if (response.status !== 202)
    throw new Error(`the batch was answered with ${response.status}: ${await response.text()}`);
  const { id } = (await response.json()) as { id: string };
  return id;
}

async function cancelBatch(id: string): Promise<void> {
  const url = `${api.url}/v1/batches/${id}`;
  await fetch(url, { method: "DELETE" });
  const hasEnded = async () => ((await (await fetch(url)).json()) as { state: string }).state === "ended";
  await waitFor(hasEnded, { timeoutMs: CANCEL_MAX_MS, what: "the cancelled batch to end" });
}

function peakMb(pid: number): number {
  return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1]) / 1024;
}

interface Figures {
  readonly singles: Awaited<ReturnType<typeof measureSingles>>;
  readonly batches: Awaited<ReturnType<typeof measureBatches>>;
}

function report({ singles, batches }: Figures): void {
  const rate = summarize(singles.drover).median;
  const floor = summarize(singles.bare).median;
  const [drover, bulk] = [summarize(batches.droverMs), summarize(batches.bareMs)];
  const worst = (figures: readonly number[]) => `${Math.max(...figures).toFixed(1)} ms`;
  process.stdout.write(
    [
      "single submits, requests a second",
      `  drover  ${rate.toFixed(0)}`,
      `  bare    ${floor.toFixed(0)}`,
      `  ratio   ${(rate / floor).toFixed(2)}   (reach: at least 0.7)`,
      `a batch of ${items}, accepted`,
      `  drover  ${formatSummary(drover)}`,
      `  bare    ${formatSummary(bulk)}`,
      `  ratio   ${(drover.median / bulk.median).toFixed(2)}   (reach: at most 1.0)`,
      `memory of the API, at its peak   ${batches.peakMb.toFixed(0)} MB   (reach: at most 250; before the first batch ${batches.peakBeforeMb.toFixed(0)} MB)`,
      "what another client waits, p99 of the worst round   (reach: below 50 ms)",
      `  idle                  ${worst(batches.idleP99Ms)}`,
      `  while it is accepted  ${worst(batches.acceptP99Ms)}`,
      `  while it is cancelled ${worst(batches.cancelP99Ms)} (${formatSummary(summarize(batches.cancelMs))})`,
      "",
    ].join("\n"),
  );
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ singles, batches }, null, 2)}\n`);
}
