import { pino } from "pino";
import { afterEach, expect, test } from "vitest";
import { LaunchFailure } from "../../../../src/contract/causes.ts";
import { DroverError } from "../../../../src/contract/errors.ts";
import { Scope } from "../../../../src/runtime/scope.ts";
import { inSpan } from "../../../../src/runtime/tracing/in-span.ts";
import { openTracing, type Tracing } from "../../../../src/runtime/tracing/open-tracing.ts";
import { traceIdOf } from "../../../../src/runtime/tracing/tracer.ts";
import { openCertificates } from "../../../helpers/certificates.ts";
import { openCollector } from "../../../helpers/otlp-collector.ts";
import { freePort } from "../../../helpers/redis-server.ts";
import { waitFor } from "../../../helpers/wait-for.ts";

const API = { role: "api", hostId: "host-a" } as const;
const CALLER = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" };
const SAMPLED = `00-${CALLER.traceId}-${CALLER.spanId}-01`;

let scope = new Scope();
let log: { level: number; msg: string; why?: string; url?: string }[] = [];

afterEach(async () => {
  await scope.close();
  scope = new Scope();
  log = [];
});

async function open(url: string, { ratio = 1, lookMs = 50 } = {}): Promise<Tracing> {
  const logger = pino({ level: "debug" }, { write: (line) => log.push(JSON.parse(line)) });
  const tracing = await openTracing({ config: { jaegerUrl: url, traceRatio: ratio }, logger, lookMs });
  return scope.own(tracing, (opened) => opened.close());
}

const warnings = () => log.filter(({ level }) => level >= 40);

test("a span arrives with its parent, links, times, attributes and the name of Cocos's manager", async () => {
  await using collector = await openCollector();
  const tracer = (await open(collector.url)).tracer(API);
  const run = tracer.start("run", {
    parent: SAMPLED,
    kind: "producer",
    attributes: { vmId: "v1", epoch: 2, host: undefined },
  });
  const before = Date.now() - 86_400_000; // before this process began
  tracer
    .start("queued", { parent: run.context, links: [SAMPLED, undefined, "nonsense"], startMs: before })
    .end({ endMs: before + 5 });
  run.set({ port: 6100 });
  run.end({ error: "redis_unavailable" });
  run.end();
  await waitFor(() => collector.spans.length === 2, { what: "both spans" });

  const [sent] = collector.named("run");
  expect(sent).toMatchObject({
    traceId: CALLER.traceId,
    parentId: CALLER.spanId,
    kind: 4,
    status: 2,
    message: "redis_unavailable",
    scope: "manager",
    attributes: { "drover.vm.id": "v1", "drover.vm.epoch": 2, "drover.port": 6100 },
    resource: { "service.name": "manager", "host.id": "host-a", "drover.role": "api" },
  });
  const [queued] = collector.named("queued");
  expect(queued).toMatchObject({ traceId: CALLER.traceId, parentId: sent?.spanId, kind: 1, status: 0 });
  expect(queued?.links).toEqual([`${CALLER.traceId}-${CALLER.spanId}`]);
  expect(Math.round(queued?.startMs ?? 0)).toBe(before);
  expect(Math.round(queued?.endMs ?? 0)).toBe(before + 5);
  expect(traceIdOf(run.context)).toBe(CALLER.traceId);
  expect(collector.requests[0]).toBe("POST /v1/traces application/x-protobuf");
  expect(log).toEqual([]);
});

test("API and worker of one process are told apart", async () => {
  await using collector = await openCollector();
  const tracing = await open(collector.url);
  tracing.tracer(API).start("run").end();
  tracing.tracer({ role: "worker", hostId: "host-b" }).start("launch").end();
  await tracing.close();
  expect(collector.named("run")[0]?.resource).toMatchObject({ "host.id": "host-a", "drover.role": "api" });
  expect(collector.named("launch")[0]?.resource).toMatchObject({ "host.id": "host-b", "drover.role": "worker" });
});

test("the path of the address is used as it is", async () => {
  await using collector = await openCollector();
  const tracing = await open(`${collector.url}/own/path`);
  tracing.tracer(API).start("run").end();
  await tracing.close();
  expect(collector.requests).toEqual(["POST /own/path application/x-protobuf"]);
});

test("https means TLS, and a certificate that nobody trusts is told without the password of the address", async () => {
  await using pki = openCertificates();
  const certificate = await (await pki.authority("/CN=unknown ca")).issue({ subject: "/CN=collector" });
  await using collector = await openCollector({ tls: certificate });
  const tracing = await open(collector.url.replace("//", "//me:CanaryPassword@"));
  tracing.tracer(API).start("run").end();
  await tracing.close();
  expect(collector.spans).toEqual([]);
  expect(warnings()).toHaveLength(1);
  expect(warnings()[0]?.why).toMatch(/CERT|VERIFY/);
  expect(JSON.stringify(log)).not.toContain("Canary");
});

test.each([
  { ratio: 0.25, sampled: "00", kept: 0 },
  { ratio: 0.000001, sampled: "01", kept: 1 },
])("the caller decides for its own trace (flags $sampled, ratio $ratio)", async ({ ratio, sampled, kept }) => {
  await using collector = await openCollector();
  const tracing = await open(collector.url, { ratio });
  const parent = SAMPLED.replace(/01$/, sampled);
  const run = tracing.tracer(API).start("run", { parent });
  tracing.tracer(API).start("launch", { parent: run.context }).end(); // what a worker does later
  run.end();
  await tracing.close();
  expect(collector.named("run")).toHaveLength(kept);
  expect(collector.named("launch")).toHaveLength(kept);
});

test("the ratio is a share of the traces", async () => {
  await using collector = await openCollector();
  const tracing = await open(collector.url, { ratio: 0.25 });
  const tracer = tracing.tracer(API);
  for (let i = 0; i < 400; i++) tracer.start("run").end();
  await tracing.close();
  expect(collector.spans.length).toBeGreaterThan(50); // 100 expected, standard deviation below 9
  expect(collector.spans.length).toBeLessThan(150);
});

test("with ratio 0 nothing is asked, loaded, sent or said", async () => {
  await using collector = await openCollector();
  const tracing = await open(collector.url, { ratio: 0 });
  expect(tracing.tracer(API).start("run", { parent: SAMPLED }).context).toBeUndefined();
  await tracing.close();
  expect(collector.requests).toEqual([]);
  expect(log).toEqual([]);
});

test("no collector: one warning with the way out, however often it is looked for; one that comes later is found", async () => {
  const port = await freePort();
  const tracing = await open(`http://127.0.0.1:${port}`, { lookMs: 10 });
  const tracer = tracing.tracer(API);
  const span = tracer.start("run");
  expect(span.context).toBeUndefined();
  span.end();
  let looks = 0;
  await waitFor(() => ++looks > 10, { intervalMs: 10 });
  expect(warnings()).toHaveLength(1);
  expect(warnings()[0]).toMatchObject({ url: `http://127.0.0.1:${port}/v1/traces`, why: "ECONNREFUSED" });
  expect(warnings()[0]?.msg).toContain("COCOS_JAEGER_TRACE_RATIO=0");

  await using collector = await openCollector({ port });
  await waitFor(() => {
    const later = tracer.start("run");
    later.end();
    return later.context !== undefined;
  });
  await waitFor(() => collector.spans.length > 0, { what: "the first span" });
  expect(log.filter(({ level }) => level === 30).map(({ msg }) => msg)).toEqual(["a collector takes traces"]);
});

test("a collector that refuses is told once and then left alone", async () => {
  await using collector = await openCollector();
  collector.answer = 404;
  const tracing = await open(collector.url);
  const tracer = tracing.tracer(API);
  for (let i = 0; i < 2_000; i++) tracer.start("run").end();
  await waitFor(() => warnings().length > 0, { what: "the warning" });
  for (let i = 0; i < 2_000; i++) tracer.start("run").end();
  await tracing.close();
  expect(warnings()).toHaveLength(1);
  expect(warnings()[0]?.why).toBe("HTTP status 404");
  expect(collector.requests.length).toBeLessThanOrEqual(4);
});

test("a collector that hangs costs neither time nor memory, and an end waits for it a second at most", async () => {
  await using collector = await openCollector();
  collector.answer = "hang";
  const tracing = await open(collector.url);
  const tracer = tracing.tracer(API);
  const begun = performance.now();
  for (let i = 0; i < 20_000; i++) tracer.start("run", { attributes: { vmId: "v" } }).end();
  expect(performance.now() - begun).toBeLessThan(2_000); // a twentieth of a ms for each, and ten times that allowed
  const closing = performance.now();
  await Promise.all([tracing.close(), tracing.close()]);
  expect(performance.now() - closing).toBeLessThan(1_300);
  expect(collector.requests.length).toBeLessThanOrEqual(5);
});

test("an address that swallows everything holds a start up for a second at most", async () => {
  const begun = performance.now();
  await open("http://192.0.2.1:4318"); // TEST-NET-1: nobody answers there
  expect(performance.now() - begun).toBeLessThan(1_500);
  expect(warnings()).toHaveLength(1);
});

test("a span in which something is thrown says the code and never the message", async () => {
  await using collector = await openCollector();
  const tracing = await open(collector.url);
  const tracer = tracing.tracer(API);
  const thrown = [
    new DroverError("vm_gone", "CanaryMessage"),
    new LaunchFailure("kernel_missing", "CanaryMessage"),
    new Error("CanaryMessage"),
  ];
  for (const error of thrown)
    await expect(inSpan(tracer.start("run"), () => Promise.reject(error))).rejects.toBe(error);
  expect(await inSpan(tracer.start("run"), async () => 7)).toBe(7);
  await tracing.close();
  expect(collector.spans.map(({ status, message }) => [status, message])).toEqual([
    [2, "vm_gone"],
    [2, "kernel_missing"],
    [2, "internal"],
    [0, ""],
  ]);
  expect(Buffer.concat(collector.bodies).includes("Canary")).toBe(false);
});
