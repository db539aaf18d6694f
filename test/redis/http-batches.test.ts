import { request as httpRequest } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BatchAccepted, BatchItems, BatchList, BatchResult, BatchView } from "../../src/contract/batch.ts";
import { Problem, VmDetail, VmList } from "../../src/contract/vm-view.ts";
import type { Principal } from "../../src/producer/principal.ts";
import { vmIdOfItem } from "../../src/runtime/batch-id.ts";
import { allOfRedis, canariesIn, SECRET_FIELDS } from "../helpers/canaries.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { type HttpWorld, openHttpWorld } from "./http-world.ts";

let world: HttpWorld;

beforeAll(async () => {
  world = await openHttpWorld({ listen: true, env: { DROVER_BATCH_MAX_ITEMS: "3000" } });
});
afterAll(() => world[Symbol.asyncDispose]());

const LINES = { "content-type": "application/x-ndjson" };
let keys = 0;

interface Sent {
  readonly headers?: Readonly<Record<string, string>>;
  readonly query?: string;
}

async function submit(body: string | Uint8Array | object, { headers = {}, query = "" }: Sent = {}) {
  const isText = typeof body === "string" || body instanceof Uint8Array;
  const response = await fetch(`${world.url}/v1/batches${query}`, {
    method: "POST",
    headers: { ...(isText ? LINES : { "content-type": "application/json" }), ...headers },
    body: isText ? Buffer.from(body) : JSON.stringify(body),
  });
  return {
    status: response.status,
    location: response.headers.get("location"),
    json: JSON.parse(await response.text()),
  };
}

function lines(count: number, item: (index: number) => object = (index) => ({ name: `n${index}` })): string {
  return Array.from({ length: count }, (_, index) => `${JSON.stringify(item(index))}\n`).join("");
}

test("a batch of lines is accepted with ids that follow from its own", async () => {
  const { status, json, location } = await submit(`{"batch":{"name":"first","maxParallel":7}}\r\n\n${lines(1200)}`);
  expect(json).toMatchObject({ name: "first", total: 1200, maxParallel: 7, replayed: false, problems: [] });
  expect(status).toBe(202);
  const { id } = BatchAccepted.parse(json);
  expect(location).toBe(`/v1/batches/${id}`);
  const page = BatchItems.parse(await (await fetch(`${world.url}${location}/items?limit=2`)).json());
  expect(page.items.map(({ index, line, vmId, name }) => ({ index, line, vmId, name }))).toEqual([
    { index: 0, line: 3, vmId: vmIdOfItem(id, 0), name: "n0" },
    { index: 1, line: 4, vmId: vmIdOfItem(id, 1), name: "n1" },
  ]);
});

test("a JSON object and a bare list do as well; labels of the defaults are merged by name", async () => {
  const defaults = { labels: { team: "a", run: "1" }, ttl: "1h" };
  const items = [{ name: "x", labels: { run: "2" } }, { ttl: "" }];
  const { status, json } = await submit({ defaults, items, stopAfterFailures: 3 });
  expect(json).toMatchObject({ total: 2, stopAfterFailures: 3 });
  expect(status).toBe(202);
  const specs = await Promise.all([0, 1].map((index) => specOf(vmIdOfItem(json.id, index))));
  expect(specs).toEqual([
    { name: "x", ttl: "1h", labels: { team: "a", run: "2" } },
    { labels: { team: "a", run: "1" } },
  ]);
  expect((await submit([{}, {}, {}])).json).toMatchObject({ total: 3 });
  const late = await submit({ items, defaults });
  expect(late).toMatchObject({ status: 400, json: { code: "malformed_body" } });
  expect(late.json.detail).toMatch(/before `items`/);
});

test("all wrong lines are answered at once, with their numbers and without the values of secrets", async () => {
  const secret = "Canary\nSecretLine";
  const body = [
    '{"batch":{"defaults":{"labels":{"a":"b"}}}}',
    '{"ttl":"soon"}',
    "",
    '{"name":"good"}',
    '{"nmae":"typo"}',
    "{nonsense Canary",
    JSON.stringify({ agentCertsToken: secret }),
    '{"__proto__":{"x":1}}',
    `{"name":"${"x".repeat(300_000)}"}`,
    "[".repeat(17) + "]".repeat(17),
    "7",
    JSON.stringify({ labels: Object.fromEntries(Array.from({ length: 32 }, (_, at) => [`l${at}`, ""])) }),
  ].join("\r\n");
  const before = await world.deps.batches.list({ limit: 500 });
  const { status, json } = await submit(body);
  expect(status).toBe(422);
  const { problems = [], code, detail } = Problem.parse(json);
  expect(code).toBe("batch_invalid");
  expect(detail).toMatch(/^9 of 10 requests are not valid, and nothing was accepted/);
  expect(problems.map(({ line, field, message }) => `${line} ${field}: ${message}`)).toEqual([
    expect.stringMatching(/^2 ttl: .*soon/),
    "5 nmae: is not known here; did you mean name?",
    expect.stringMatching(/^6 request: it is not valid JSON/),
    expect.stringMatching(/^7 agentCertsToken: /),
    expect.stringMatching(/^8 request: it is not valid JSON/),
    expect.stringMatching(/^9 request: it is longer than/),
    expect.stringMatching(/^10 request: it nests deeper/),
    expect.stringMatching(/^11 request: /),
    expect.stringMatching(/^12 labels: at most 32 labels/),
  ]);
  expect(JSON.stringify(json)).not.toContain("Canary");
  expect((await world.deps.batches.list({ limit: 500 })).batches).toHaveLength(before.batches.length);
  await waitFor(async () => (await stagedKeys()).length === 0);
  const partial = await submit(body, { query: "?partial=true" });
  expect(partial).toMatchObject({ status: 202, json: { total: 1, rejected: 9 } });
  expect(partial.json.problems).toEqual(problems);
  expect((await submit('{"ttl":"soon"}\n', { query: "?partial" })).status).toBe(422);
});

test("of very many wrong lines the first are listed and all are counted", async () => {
  const { json } = await submit(lines(1_500, () => ({ ttl: "x" })));
  expect(json.problems).toHaveLength(1_000);
  expect(json.detail).toMatch(/1500 of 1500 .*the first 1000 of 1500 problems/);
});

test.each([
  ["an empty body", "", 422, "batch_invalid"],
  ["a wrong head", '{"batch":{"maxParallel":0}}\n{}\n', 422, "batch_invalid"],
  ["a head with something beside it", '{"batch":{},"name":"x"}\n{}\n', 422, "batch_invalid"],
  ["too many requests", lines(3_001), 413, "body_too_large"],
  ["bytes that are no UTF-8", Buffer.from([0x7b, 0xff, 0x7d]), 422, "batch_invalid"],
])("%s is refused", async (_what, body, status, code) => {
  expect(await submit(body)).toMatchObject({ status, json: { code } });
});

test("a body of another kind, too large, or compressed is refused", async () => {
  const other = await submit("{}", { headers: { "content-type": "text/csv" } });
  expect(other).toMatchObject({ status: 415, json: { code: "unsupported_media_type" } });
  expect((await submit("{}", { headers: { "content-encoding": "gzip" } })).status).toBe(415);
  expect((await submit(lines(2), { query: "?partail=true" })).status).toBe(400);
  await using small = await openHttpWorld({ listen: true, env: { DROVER_BATCH_MAX_BYTES: "100K" } });
  const response = await fetch(`${small.url}/v1/batches`, { method: "POST", headers: LINES, body: lines(20_000) });
  expect(response.status).toBe(413);
  expect(Problem.parse(await response.json()).detail).toMatch(/DROVER_BATCH_MAX_BYTES/);
});

test("the same key gives the same batch, and another content is a conflict", async () => {
  const headers = { "idempotency-key": `key-${keys++}` };
  const first = await submit(
    { defaults: { agentCertsToken: "a" }, items: [{ name: "a", ttl: "1h" }, {}] },
    { headers },
  );
  const again = await submit('{"batch":{"defaults":{"agentCertsToken":"a"}}}\n{"ttl":"1h","name":"a"}\n{}', {
    headers,
  });
  expect([first.status, again.status]).toEqual([202, 200]);
  expect(again.json).toMatchObject({ id: first.json.id, replayed: true, total: 2 });
  for (const token of ["b", ""]) {
    const other = await submit(
      { defaults: { agentCertsToken: token }, items: [{ name: "a", ttl: "1h" }, {}] },
      { headers },
    );
    expect(other).toMatchObject({ status: 409, json: { code: "idempotency_conflict" } });
  }
  expect((await submit(lines(2), { headers })).status).toBe(409);
});

test("an upload that is cut off leaves nothing; the whole one afterwards, with the same key, is accepted", async () => {
  const body = Buffer.from(lines(2_400, (index) => ({ name: `cut ${index}`, labels: { pad: "x".repeat(80) } })));
  const headers = { ...LINES, "idempotency-key": `key-${keys++}` };
  const before = await world.deps.batches.list({ limit: 500 });
  for (const eighths of [1, 2, 3, 4, 5, 6, 7]) await cutOff(body.subarray(0, (body.length * eighths) / 8), headers);
  await waitFor(async () => (await stagedKeys()).length === 0);
  expect((await world.deps.batches.list({ limit: 500 })).batches).toHaveLength(before.batches.length);
  const whole = await submit(body, { headers });
  expect(whole).toMatchObject({ status: 202, json: { total: 2_400 } });
  expect(await submit(body, { headers })).toMatchObject({ status: 200, json: { id: whole.json.id } });
});

test("secrets of a batch stand nowhere in Redis, nor in what was staged", async () => {
  const upload = await openUpload();
  upload.write(`{"batch":{"defaults":${JSON.stringify(SECRET_FIELDS)}}}\n`);
  upload.write(lines(2_500, (index) => ({ name: `${index}`, ...SECRET_FIELDS })));
  await waitFor(async () => (await stagedKeys()).length > 0);
  expect(canariesIn(await allOfRedis(world.redis))).toEqual([]);
  const { status } = await upload.finish();
  expect(status).toBe(202);
  expect(canariesIn(await allOfRedis(world.redis))).toEqual([]);
});

test("without a key to seal them, secrets are refused; so are KBS parameters beside a disk", async () => {
  await using bare = await openHttpWorld({ secretKeys: undefined, env: { MANAGER_QEMU_ENABLE_DISK: "true" } });
  const send = (payload: object) => bare.app.inject({ method: "POST", url: "/v1/batches", payload });
  const keyless = await send([{ agentCertsToken: "x" }]);
  expect(keyless.json()).toMatchObject({ status: 422, code: "secrets_key_missing" });
  const kbs = await send({ defaults: { aaKbsParams: "a::b" }, items: [{ aaKbsParams: "c::d" }, {}] });
  expect(kbs.json().problems.map(({ field }: { field: string }) => field)).toEqual([
    "defaults.aaKbsParams",
    "aaKbsParams",
  ]);
});

test("who falls silent in an upload is answered 408, and who is slow is not", async () => {
  await using quick = await openHttpWorld({ listen: true, env: { MANAGER_HTTP_SERVER_READ_TIMEOUT: "400ms" } });
  const slow = await openUpload(quick.url);
  for (let at = 0; at < 4; at++) {
    slow.write(lines(1));
    await new Promise((resolve) => setTimeout(resolve, 200)); // the pace of the sender is what is tested
  }
  expect((await slow.finish()).status).toBe(202);
  const silent = await openUpload(quick.url);
  silent.write(lines(1));
  expect(await silent.answer()).toMatchObject({ status: 408, json: { code: "request_timeout" } });
});

test("another owner's batch does not exist, and a viewer changes nothing", async () => {
  const identify = (request: { headers: Record<string, unknown> }): Principal => ({
    owner: String(request.headers["x-owner"]),
    role: request.headers["x-role"] === "viewer" ? "viewer" : "submitter",
    via: "token",
  });
  await using shared = await openHttpWorld({ identify });
  const as = (owner: string, role = "submitter") => ({ "x-owner": owner, "x-role": role });
  const post = (headers: Record<string, string>) =>
    shared.app.inject({ method: "POST", url: "/v1/batches", payload: [{}], headers });
  const { id } = BatchAccepted.parse((await post(as("a"))).json());
  for (const [method, path] of [
    ["GET", ""],
    ["GET", "/items"],
    ["GET", "/results"],
    ["DELETE", ""],
    ["POST", "/retry-failed"],
  ] as const) {
    const url = `/v1/batches/${id}${path}`;
    const foreign = await shared.app.inject({ method, url, headers: as("b") });
    expect([foreign.statusCode, foreign.json().code], url).toEqual([404, "batch_not_found"]);
    const viewer = await shared.app.inject({ method, url, headers: as("a", "viewer") });
    expect(viewer.statusCode, url).toBe(method === "GET" ? 200 : 403);
  }
  expect((await post(as("a", "viewer"))).statusCode).toBe(403);
  const list = async (owner: string) =>
    BatchList.parse((await shared.app.inject({ url: "/v1/batches", headers: as(owner) })).json()).items.map(
      (one) => one.id,
    );
  expect([await list("a"), await list("b")]).toEqual([[id], []]);
});

test("a cancelled batch ends, its events and VMs can be found by it", async () => {
  const { json } = await submit(lines(40));
  const url = `${world.url}/v1/batches/${json.id}`;
  await waitFor(async () => BatchView.parse(await (await fetch(url)).json()).counts.queued === 40);
  const vms = VmList.parse(await (await fetch(`${world.url}/v1/vms?batch=${json.id}&limit=100`)).json());
  expect(vms.items).toHaveLength(40);
  const cancelled = await fetch(url, { method: "DELETE" });
  expect([200, 202]).toContain(cancelled.status);
  const ended = await waitFor(async () => {
    const batch = BatchView.parse(await (await fetch(url)).json());
    return batch.state === "ended" && batch;
  });
  expect(ended).toMatchObject({ outcome: "cancelled", ended: 40 });
  expect((await fetch(url, { method: "DELETE" })).status).toBe(200);
  const results = (await (await fetch(`${url}/results`)).text()).trim().split("\n");
  expect(results.map((line) => BatchResult.parse(JSON.parse(line)).index)).toEqual([...Array(40).keys()]);
});

async function specOf(vmId: string): Promise<unknown> {
  return VmDetail.parse(await (await fetch(`${world.url}/v1/vms/${vmId}`)).json()).spec;
}

/** What of uploads is in Redis and is no batch yet. */
async function stagedKeys(): Promise<string[]> {
  const staged = world.keys.batchUpload("", "items").replace(/:items$/, "");
  return (await world.redis.keys("*")).filter((key) => key.startsWith(staged));
}

async function openUpload(url = world.url, headers: Record<string, string> = LINES) {
  const request = httpRequest(`${url}/v1/batches`, { method: "POST", headers });
  const answered = new Promise<{ status: number; json: unknown }>((resolve, reject) => {
    request.once("error", reject);
    request.once("response", async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk);
      resolve({ status: response.statusCode ?? 0, json: JSON.parse(Buffer.concat(chunks).toString()) });
    });
  });
  answered.catch(() => undefined); // of an upload that is cut off nobody waits for it
  return {
    write: (text: string | Uint8Array) => request.write(text),
    answer: () => answered,
    finish: () => {
      request.end();
      return answered;
    },
    cut: () => request.destroy(),
  };
}

/** Sends a part of a body, and hangs up when the server has read it. */
async function cutOff(part: Uint8Array, headers: Record<string, string>): Promise<void> {
  const upload = await openUpload(world.url, headers);
  await new Promise<void>((resolve) => {
    upload.write(part);
    setTimeout(resolve, 20); // long enough to be staged, at any place
  });
  upload.cut();
}
