import { pino } from "pino";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { isFinal } from "../../src/contract/vm-state.ts";
import { openTracing, type Tracing } from "../../src/runtime/tracing/open-tracing.ts";
import { canariesIn, SECRET_FIELDS } from "../helpers/canaries.ts";
import { openCocosClient } from "../helpers/cocos-client.ts";
import { type CollectedSpan, type OtlpCollector, openCollector } from "../helpers/otlp-collector.ts";
import { sharedDrover } from "../helpers/shared-drover.ts";
import { waitFor } from "../helpers/wait-for.ts";

const CALLER = "0af7651916cd43dd8448eb211c80319c";
const KEY = `k1:${Buffer.alloc(32, 7).toString("base64")}`;
/** From the fetch to `running`. */
const LAUNCH_PHASES = [
  "prepare",
  "wait_for_boot_place",
  "open_secrets",
  "make_files",
  "spawn",
  "publish_starting",
  "wait_for_qmp",
  "publish_running",
];
const END_PHASES = ["write_plan", "end_process", "settle"];

let collector: OtlpCollector;
let tracing: Tracing;

beforeAll(async () => {
  collector = await openCollector();
});
afterAll(async () => {
  await tracing.close();
  await collector[Symbol.asyncDispose]();
});
beforeEach(() => {
  collector.spans.splice(0);
});

const world = sharedDrover(async () => {
  tracing = await openTracing({
    config: { jaegerUrl: collector.url, traceRatio: 1 },
    logger: pino({ level: "silent" }),
  });
  return { rom: "obedient", tracing, env: { DROVER_SECRETS_KEY: KEY, MANAGER_LOG_LEVEL: "info" } };
});

/** Every span of a VM; those that only look for a moment at it are sent with the next batch. */
async function spansOf(vmId: string, last: string): Promise<CollectedSpan[]> {
  const ofVm = () => collector.spans.filter(({ attributes }) => attributes["drover.vm.id"] === vmId);
  await waitFor(() => ofVm().some(({ name }) => name === last), { what: `the span ${last}` });
  return ofVm();
}

/** The names of the spans below one, in the order of their beginnings. */
function below(spans: readonly CollectedSpan[], parent: CollectedSpan | undefined): string[] {
  return spans
    .filter(({ parentId }) => parentId === parent?.spanId)
    .sort((a, b) => a.startMs - b.startMs)
    .map(({ name }) => name);
}

test("one trace leads from the request through the queue and the launch to the end", async () => {
  const traceparent = `00-${CALLER}-b7ad6b7169203331-01`;
  const vmId = await world().submit({ name: "traced", ...SECRET_FIELDS }, { traceparent });
  await world().until(vmId, "running");
  const removal = await world().remove(vmId);
  expect(removal.status).toBe(202);
  await world().until(vmId, "removed");
  await waitFor(async () => isFinal((await world().get(vmId)).state));
  const spans = await spansOf(vmId, "end");

  const [server] = collector.named("POST /v1/vms");
  expect(server).toMatchObject({ traceId: CALLER, parentId: "b7ad6b7169203331", kind: 2 });
  expect(server?.attributes).toMatchObject({ "http.route": "/v1/vms", "http.response.status_code": 202 });
  const one = (name: string) => spans.find((span) => span.name === name);
  const run = one("run");
  expect(run).toMatchObject({ traceId: CALLER, parentId: server?.spanId, resource: { "drover.role": "api" } });
  expect(below(spans, run)).toEqual(["queued", "launch"]);
  const launch = one("launch");
  expect(below(spans, launch)).toEqual([...LAUNCH_PHASES, "stop_guest", "end"]);
  expect(below(spans, one("end"))).toEqual(END_PHASES);
  const ofTrace = spans.filter(({ traceId }) => traceId === CALLER);
  expect(ofTrace).toHaveLength(2 + LAUNCH_PHASES.length + 3 + END_PHASES.length);
  expect(ofTrace.filter(({ status }) => status !== 0)).toEqual([]);
  expect(launch).toMatchObject({
    resource: { "host.id": world().worker?.hostId, "drover.role": "worker", "service.name": "manager" },
    attributes: { "drover.vm.epoch": 1, "drover.pool": "default", "drover.port": world().ports.first },
  });
  expect(one("end")?.attributes).toMatchObject({ "drover.outcome": "removed" });
  for (const { name, startMs, endMs } of ofTrace) expect(endMs, name).toBeGreaterThanOrEqual(startMs);
  const phases = launch === undefined ? [] : spans.filter(({ name }) => LAUNCH_PHASES.includes(name));
  const inPhasesMs = phases.reduce((sum, { startMs, endMs }) => sum + endMs - startMs, 0);
  expect(inPhasesMs / ((launch?.endMs ?? 0) - (launch?.startMs ?? 0)), "no time is unaccounted for").toBeGreaterThan(
    0.9,
  );

  const [stop] = collector.named("stop");
  expect(stop?.traceId, "a request of its own").not.toBe(CALLER);
  expect(stop?.links).toEqual([`${CALLER}-${run?.spanId}`]);
  expect(world().logs()).toContain(`"traceId":"${CALLER}"`);
  const wire = Buffer.concat(collector.bodies).toString("latin1");
  expect(canariesIn(wire), "no secret").toEqual([]);
  expect(wire, "nothing out of a request").not.toContain("traced");
});

test("after the worker's end the next one goes on in the same trace", async () => {
  await world().chooseGuest("hello");
  const vmId = await world().submit({ probe: { type: "console", text: "hello from" } });
  await world().until(vmId, "ready");
  await world().chooseGuest("obedient");
  const before = await spansOf(vmId, "ready");
  await world().worker?.stop("keep");
  await world().runWorker();
  await world().remove(vmId, "?force");
  await world().until(vmId, "removed");
  const spans = await spansOf(vmId, "end");
  const run = before.find(({ name }) => name === "run");
  expect(new Set(spans.filter(({ name }) => name !== "stop").map(({ traceId }) => traceId))).toEqual(
    new Set([run?.traceId]),
  );
  expect(below(spans, run)).toEqual(["queued", "launch", "adopt", "stop_guest", "end"]);
  expect(
    below(
      spans,
      before.find(({ name }) => name === "launch"),
    ),
  ).toEqual([...LAUNCH_PHASES, "ready"]);
});

test("a launch that fails says its cause, and the next one is in the same trace", async () => {
  const attempts = 2;
  const vmId = await world().submit({ attempts, bootTimeout: "1ms" });
  await world().until(vmId, "failed");
  const spans = await waitFor(async () => {
    const found = await spansOf(vmId, "end");
    return found.filter(({ name }) => name === "end").length === attempts ? found : undefined;
  });
  const launches = spans.filter(({ name }) => name === "launch");
  expect(launches.map(({ attributes }) => attributes["drover.vm.epoch"])).toEqual([1, 2]);
  expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(1);
  expect(launches.map(({ status, message }) => [status, message])).toEqual([
    [2, "boot_timeout"],
    [2, "boot_timeout"],
  ]);
  const ends = spans.filter(({ name }) => name === "end");
  expect(ends.map(({ attributes }) => [attributes["drover.outcome"], attributes["drover.cause"]])).toEqual([
    ["retrying", "boot_timeout"],
    ["failed", "boot_timeout"],
  ]);
});

test("calls of gRPC are traced under the names of Cocos's manager", async () => {
  using client = openCocosClient(new URL(world().api.grpcUrl).host);
  const metadata = { traceparent: `00-${"c".repeat(32)}-b7ad6b7169203331-01` };
  const created = await client.call("CreateVm", {}, { metadata });
  expect(created.status).toBe("OK");
  const { cvmId } = created.message as { cvmId: string };
  await client.call("CVMInfo", { id: cvmId });
  expect((await client.call("AttestationPolicy", { id: cvmId })).status).toBe("FAILED_PRECONDITION");
  await client.call("RemoveVm", { cvmId });
  await spansOf(cvmId, "end");
  const inner = (server: string) => below(collector.spans, collector.named(server)[0]);
  expect(collector.named("manager.ManagerService/CreateVm")[0]).toMatchObject({ traceId: "c".repeat(32), kind: 2 });
  expect(inner("manager.ManagerService/CreateVm")).toEqual(["run"]);
  expect(inner("manager.ManagerService/CVMInfo")).toEqual(["return_cvm_info"]);
  expect(inner("manager.ManagerService/AttestationPolicy")).toEqual(["fetch_attestation_policy"]);
  expect(inner("manager.ManagerService/RemoveVm")).toEqual(["stop"]);
  expect(collector.named("fetch_attestation_policy")[0]).toMatchObject({ status: 2, message: "policy_unavailable" });
});
