import { expect, test } from "vitest";
import { DroverError } from "../../src/contract/errors.ts";
import { parseMetrics, sampleOf } from "../helpers/metrics-text.ts";
import { openGrpcWorld } from "./grpc-world.ts";

const COCOS_METHODS = ["Run", "Stop", "FetchAttestationPolicy", "ReturnCVMInfo"];

test("calls are counted under Cocos's names and times, in seconds, and by method and status under drover's", async () => {
  let isRefused = false;
  await using world = await openGrpcWorld({
    whoIs: () => {
      if (isRefused) throw new DroverError("unauthenticated", "show a token");
      return { owner: "local", role: "operator", via: "local" };
    },
  });
  const { client, deps } = world;
  expect(await deps.meter.scrape(), "no series before the first call").not.toMatch(/^manager_api\w*\{/m);
  await client.call("CreateVm", { ttl: "1h" }, { deadlineMs: 300 });
  await client.call("RemoveVm", { cvmId: "11111111-1111-4111-8111-111111111111" });
  await client.call("AttestationPolicy", { id: "11111111-1111-4111-8111-111111111111" });
  await client.call("CVMInfo", { id: "" });
  await client.call("CVMInfo", { id: "" });
  isRefused = true;
  await client.call("CVMInfo", { id: "" });

  const text = await deps.meter.scrape();
  expect(text).toContain("# HELP manager_api_request_count Number of requests received.");
  expect(text).toContain("# TYPE manager_api_request_count counter");
  expect(text).toContain("# HELP manager_api_request_latency_microseconds Total duration of requests in microseconds.");
  expect(text).toContain("# TYPE manager_api_request_latency_microseconds summary");
  const samples = parseMetrics(text);
  const value = (name: string, labels: Record<string, string>) => sampleOf(samples, name, labels);
  expect(COCOS_METHODS.map((method) => value("manager_api_request_count", { method }))).toEqual([1, 1, 1, 2]);
  for (const quantile of ["0.5", "0.9", "0.99"])
    expect(value("manager_api_request_latency_microseconds", { method: "Run", quantile })).toBeDefined();
  const took = value("manager_api_request_latency_microseconds_sum", { method: "Run" });
  expect(took, "it waited for its deadline, and that is in seconds").toBeGreaterThan(0.05);
  expect(took).toBeLessThan(5);
  expect(value("drover_grpc_calls_total", { method: "CVMInfo", code: "OK" })).toBe(2);
  expect(value("drover_grpc_calls_total", { method: "CVMInfo", code: "UNAUTHENTICATED" })).toBe(1);
  expect(value("drover_grpc_call_seconds_count", { method: "CVMInfo" })).toBe(3);
  expect(value("drover_access_refused_total", { protocol: "grpc", outcome: "unauthenticated" })).toBe(1);
});
