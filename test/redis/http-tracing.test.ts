import { pino } from "pino";
import { expect, test } from "vitest";
import { Scope } from "../../src/runtime/scope.ts";
import { openTracing } from "../../src/runtime/tracing/open-tracing.ts";
import { openCollector } from "../helpers/otlp-collector.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { type HttpWorld, openHttpWorld } from "./http-world.ts";

const CALLER = "0af7651916cd43dd8448eb211c80319c";
const traceparent = `00-${CALLER}-b7ad6b7169203331-01`;

async function open(scope: Scope, { ratio = 1, env = {} as Record<string, string> } = {}) {
  const collector = scope.own(await openCollector(), (opened) => opened[Symbol.asyncDispose]());
  const config = { jaegerUrl: collector.url, traceRatio: ratio };
  const tracing = scope.own(await openTracing({ config, logger: pino({ level: "silent" }) }), (opened) =>
    opened.close(),
  );
  const log: string[] = [];
  const world = scope.own(await openHttpWorld({ tracing, log, env }), (opened) => opened[Symbol.asyncDispose]());
  return { collector, tracing, world, log };
}

const submit = ({ app }: HttpWorld, headers: Record<string, string> = {}, payload: object = {}) =>
  app.inject({ method: "POST", url: "/v1/vms", headers, payload });

test("a request that changes something is traced below its caller's span, and looking is not", async () => {
  await using scope = new Scope();
  const { collector, tracing, world, log } = await open(scope);
  const submitted = await submit(world, { traceparent });
  const { id } = submitted.json();
  expect(submitted.statusCode).toBe(202);
  const record = await world.deps.store.get(id);
  for (const url of ["/v1/vms", `/v1/vms/${id}`, "/health", "/ready", "/nowhere"]) await world.app.inject({ url });
  expect((await submit(world, { traceparent: "nonsense" }, { ttl: "soon" })).statusCode).toBe(400);
  await world.app.inject({ url: `/v1/vms/${id}/attestation-policy` });
  await world.app.inject({ method: "DELETE", url: `/v1/vms/${id}` });
  await tracing.close();

  expect(collector.spans.filter(({ kind }) => kind === 2).map(({ name }) => name)).toEqual([
    "POST /v1/vms",
    "POST /v1/vms",
    "GET /v1/vms/:id/attestation-policy",
    "DELETE /v1/vms/:id",
  ]);
  const [server, refused] = collector.named("POST /v1/vms");
  const [run] = collector.named("run");
  expect(server).toMatchObject({ traceId: CALLER, parentId: "b7ad6b7169203331", status: 0 });
  expect(run).toMatchObject({ traceId: CALLER, parentId: server?.spanId, attributes: { "drover.vm.id": id } });
  expect(record?.trace).toBe(`00-${CALLER}-${run?.spanId}-01`);
  expect(refused?.traceId).not.toBe(CALLER);
  expect(refused, "the client's fault is none of the server").toMatchObject({ parentId: "", status: 0 });
  expect(refused?.attributes["http.response.status_code"]).toBe(400);
  expect(collector.named("stop")[0]?.links).toEqual([`${CALLER}-${run?.spanId}`]);
  expect(log.filter((line) => line.includes(`"traceId":"${CALLER}"`))).toHaveLength(1);
});

test("each VM of a batch has a trace of its own, linked to the request that brought the batch", async () => {
  await using scope = new Scope();
  const { collector, tracing, world } = await open(scope);
  const items = [{ name: "a" }, { name: "b" }, { name: "c" }];
  const accepted = await world.app.inject({
    method: "POST",
    url: "/v1/batches",
    headers: { traceparent },
    payload: items,
  });
  expect(accepted.statusCode).toBe(202);
  const batchId = accepted.json().id;
  const records = await waitFor(async () => {
    const { records } = await world.deps.store.list({ limit: 10 });
    return records.length === items.length ? records : undefined;
  });
  await tracing.close();

  const [server] = collector.named("POST /v1/batches");
  expect(server?.traceId).toBe(CALLER);
  const runs = collector.named("run");
  expect(runs.map(({ links }) => links)).toEqual(items.map(() => [`${CALLER}-${server?.spanId}`]));
  expect(runs.map(({ attributes }) => attributes["drover.batch.id"])).toEqual(items.map(() => batchId));
  expect(new Set([CALLER, ...runs.map(({ traceId }) => traceId)]).size).toBe(4);
  expect(records.map(({ trace }) => trace).sort()).toEqual(
    runs.map(({ traceId, spanId }) => `00-${traceId}-${spanId}-01`).sort(),
  );
});

test("who is not known is not traced, whatever trace it names", async () => {
  await using scope = new Scope();
  const { collector, tracing, world } = await open(scope);
  const refused = await submit(world, { traceparent, authorization: `Bearer drv_${"x".repeat(40)}` });
  expect(refused.statusCode).toBe(401);
  await tracing.close();
  expect(collector.spans).toEqual([]);
});

test("with ratio 0 no record and no log line knows of a trace", async () => {
  await using scope = new Scope();
  const { collector, world, log } = await open(scope, { ratio: 0 });
  const { id } = (await submit(world, { traceparent })).json();
  expect((await world.deps.store.get(id))?.trace).toBeUndefined();
  expect(log.join("")).not.toContain("traceId");
  expect(collector.requests).toEqual([]);
});

test("a collector that hangs holds no submit up", async () => {
  await using scope = new Scope();
  const { collector, world } = await open(scope);
  collector.answer = "hang";
  const took: number[] = [];
  const hung = waitFor(() => collector.requests.length > 0, { what: "spans to be on their way" });
  for (let i = 0; i < 20; i++) {
    const begun = performance.now();
    expect((await submit(world)).statusCode).toBe(202);
    took.push(performance.now() - begun);
  }
  await hung;
  for (let i = 0; i < 20; i++) {
    const begun = performance.now();
    expect((await submit(world)).statusCode).toBe(202);
    took.push(performance.now() - begun);
  }
  const median = took.slice(20).sort((a, b) => a - b)[10] ?? Number.NaN;
  expect(median, "one try of the exporter takes 2 s").toBeLessThan(500);
});
