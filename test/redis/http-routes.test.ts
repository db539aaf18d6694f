import type { HTTPMethods } from "fastify";
import { expect, test } from "vitest";
import { z } from "zod";
import { DroverError, ERROR_CATALOGUE } from "../../src/contract/errors.ts";
import { Problem } from "../../src/contract/vm-view.ts";
import { openHttpWorld } from "./http-world.ts";

const ID = "11111111-1111-4111-8111-111111111111";
/** Every documented route, with an address that fits it. */
const ROUTES = [
  ["POST", "/v1/vms"],
  ["GET", "/v1/vms"],
  ["GET", `/v1/vms/${ID}`],
  ["DELETE", `/v1/vms/${ID}`],
  ["POST", `/v1/vms/${ID}/retry`],
  ["GET", `/v1/vms/${ID}/console`],
  ["GET", "/v1/events"],
  ["POST", "/v1/hosts/host-a/cordon"],
  ["GET", "/v1/failures"],
  ["POST", "/v1/failures/guest_panic@host-a/retry"],
  ["POST", "/v1/failures/guest_panic@host-a/dismiss"],
  ["GET", "/health"],
  ["GET", "/ready"],
  ["GET", "/metrics"],
  ["GET", "/openapi.json"],
  ["GET", "/docs"],
  ["GET", "/docs/static/swagger-ui.css"],
  ["GET", "/board"],
  ["GET", "/board/api/queues"],
  ["GET", "/board/static/favicon.ico"],
] as const;

const Document = z.looseObject({
  openapi: z.string(),
  paths: z.record(
    z.string(),
    z.record(
      z.string(),
      z.looseObject({
        operationId: z.string(),
        responses: z.record(
          z.string(),
          z.looseObject({
            description: z.string(),
            headers: z.record(z.string(), z.unknown()),
            content: z.record(z.string(), z.unknown()).optional(),
          }),
        ),
      }),
    ),
  ),
  components: z.looseObject({ schemas: z.record(z.string(), z.unknown()) }),
});

function problemOf(reply: { body: string; headers: Record<string, unknown>; statusCode: number }): Problem {
  expect(reply.headers["content-type"]).toBe("application/problem+json; charset=utf-8");
  const problem = Problem.parse(JSON.parse(reply.body));
  expect(problem).toMatchObject({ status: reply.statusCode, requestId: reply.headers["x-request-id"] });
  expect(Object.keys(ERROR_CATALOGUE)).toContain(problem.code);
  return problem;
}

test.each(ROUTES)("%s %s: Host and Origin are checked before all else", async (method, url) => {
  await using world = await openHttpWorld();
  const ask = (headers: Record<string, string>) => world.app.inject({ method, url, headers });
  expect(problemOf(await ask({ host: "evil.example" })).code).toBe("host_not_allowed");
  expect(problemOf(await ask({ origin: "https://evil.example" })).code).toBe("origin_not_allowed");
  expect(problemOf(await ask({ "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" })).code).toBe(
    "origin_not_allowed",
  );
});

const OPEN = ["/health", "/ready"];

test.each(ROUTES.filter(([, url]) => !OPEN.includes(url)))("%s %s: passes the principal hook", async (method, url) => {
  const refuse = () => {
    throw new DroverError("too_many_requests", "refused by the hook");
  };
  await using world = await openHttpWorld({ identify: refuse });
  expect(problemOf(await world.app.inject({ method, url })).detail).toBe("refused by the hook");
});

test.each([...ROUTES, ["GET", "/nowhere"], ["PUT", "/v1/vms"]] as const)(
  "%s %s: carries the headers that every answer has",
  async (method, url) => {
    await using world = await openHttpWorld();
    if (url === "/v1/events") return; // an open answer: seen in the tests of events
    const { headers } = await world.app.inject({ method: method as HTTPMethods, url });
    expect(headers).toMatchObject({
      "x-content-type-options": "nosniff",
      "x-frame-options": "DENY",
      "referrer-policy": "same-origin",
      "content-security-policy": expect.stringContaining("frame-ancestors 'none'"),
      "x-request-id": expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
  },
);

test.each([
  ["PUT", "/v1/vms", "GET, HEAD, POST"],
  ["DELETE", "/v1/vms", "GET, HEAD, POST"],
  ["PATCH", `/v1/vms/${ID}`, "GET, HEAD, DELETE"],
  ["GET", `/v1/vms/${ID}/retry`, "POST"],
  ["POST", "/v1/events", "GET"],
  ["HEAD", "/v1/events", "GET"],
  ["HEAD", `/v1/vms/${ID}/console`, "GET"],
  ["POST", "/health", "GET"],
  ["HEAD", "/health", "GET"],
  ["OPTIONS", "/v1/vms", "GET, HEAD, POST"],
] as const)("%s %s is not offered, and Allow says %s", async (method, url, allow) => {
  await using world = await openHttpWorld();
  const reply = await world.app.inject({ method, url });
  expect(reply.statusCode).toBe(405);
  expect(reply.headers["allow"]).toBe(allow);
  if (method !== "HEAD") expect(problemOf(reply).code).toBe("method_not_allowed");
});

test.each(["/v1", "/v2/vms", "/docs/../etc/passwd", "/board2", "/V1/VMS"])("%s is no page", async (url) => {
  await using world = await openHttpWorld();
  expect(problemOf(await world.app.inject(url)).code).toBe("not_found");
});

test.each([
  ["GET", "/v1/vms", "text/html"],
  ["POST", "/v1/vms", "text/plain"],
  ["GET", `/v1/vms/${ID}`, "application/xml"],
  ["DELETE", `/v1/vms/${ID}`, "text/*"],
  ["GET", `/v1/vms/${ID}/console`, "application/json"],
  ["GET", "/v1/events", "application/json"],
] as const)("%s %s cannot be answered as %s", async (method, url, accept) => {
  await using world = await openHttpWorld();
  const payload = method === "POST" ? { payload: {} } : {};
  expect(problemOf(await world.app.inject({ method, url, headers: { accept }, ...payload })).code).toBe(
    "not_acceptable",
  );
});

test("a defect of ours says nothing but the request id, which the log has", async () => {
  const log: string[] = [];
  await using world = await openHttpWorld({ log });
  await world.redis.hset(world.keys.record(ID), { vmId: ID, state: "CANARY" });
  const reply = await world.app.inject(`/v1/vms/${ID}`);
  const problem = problemOf(reply);
  expect(problem.code).toBe("internal_error");
  expect(reply.body).not.toContain("CANARY");
  expect(log.find((line) => line.includes("failed unexpectedly"))).toContain(problem.requestId);
});

test("health is Cocos's document, byte for byte", async () => {
  await using world = await openHttpWorld();
  const reply = await world.app.inject("/health");
  expect(reply.statusCode).toBe(200);
  expect(reply.headers["content-type"]).toBe("application/health+json");
  const { version } = world.deps.build;
  expect(reply.body).toBe(
    `{"status":"pass","version":"${version}","commit":"ffffffff","description":"manager service","build_time":"1970-01-01_00:00:00","instance_id":"test-instance"}\n`,
  );
});

test("ready says so while Redis answers", async () => {
  await using world = await openHttpWorld();
  const reply = await world.app.inject("/ready");
  expect([reply.statusCode, reply.json()]).toEqual([200, { status: "ready", reasons: [] }]);
});

test("the description has every route with every error and header, in OpenAPI 3.1", async () => {
  await using world = await openHttpWorld();
  const { openapi, paths, components } = Document.parse((await world.app.inject("/openapi.json")).json());
  expect(openapi).toBe("3.1.0");
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ route: `${method} ${path}`, ...operation })),
  );
  expect(operations.map(({ route }) => route).sort()).toEqual([
    "delete /v1/batches/{id}",
    "delete /v1/hosts/{id}",
    "delete /v1/vms/{id}",
    "get /health",
    "get /metrics",
    "get /ready",
    "get /v1/batches",
    "get /v1/batches/{id}",
    "get /v1/batches/{id}/items",
    "get /v1/batches/{id}/results",
    "get /v1/events",
    "get /v1/failures",
    "get /v1/hosts",
    "get /v1/hosts/{id}",
    "get /v1/vms",
    "get /v1/vms/{id}",
    "get /v1/vms/{id}/attestation-policy",
    "get /v1/vms/{id}/console",
    "post /v1/batches",
    "post /v1/batches/{id}/retry-failed",
    "post /v1/failures/{id}/dismiss",
    "post /v1/failures/{id}/retry",
    "post /v1/hosts/{id}/cordon",
    "post /v1/hosts/{id}/drain",
    "post /v1/hosts/{id}/evacuate",
    "post /v1/hosts/{id}/resume",
    "post /v1/vms",
    "post /v1/vms/{id}/retry",
  ]);
  for (const { route, responses } of operations) {
    const needsRedis = !route.includes("health");
    expect(Object.keys(responses), route).toEqual(
      expect.arrayContaining(
        ["200", "403", "421", "500", "503"]
          .filter((status) => needsRedis || status !== "")
          .filter((status) => !(/retry(-failed)?$/.test(route) && status === "200")),
      ),
    );
    for (const [status, { headers, content }] of Object.entries(responses)) {
      expect(Object.keys(headers), `${route} ${status}`).toContain("X-Request-Id");
      if (Number(status) >= 400)
        expect(Object.keys(content ?? {}), `${route} ${status}`).toContain("application/problem+json");
    }
    expect(Object.keys(responses["503"]?.headers ?? {})).toContain("Retry-After");
  }
  expect(Object.keys(components.schemas).filter((name) => name.endsWith("Input"))).toEqual([]);
  const references = [...JSON.stringify(paths).matchAll(/#\/components\/schemas\/(\w+)/g)].map(
    ([, name]) => name ?? "",
  );
  for (const name of references) expect(Object.keys(components.schemas)).toContain(name);
  expect(references).toContain("VmRequest");
});

test("every route of the app is in the table above, hidden pages aside", async () => {
  await using world = await openHttpWorld();
  for (const [method, url] of ROUTES) expect(world.app.findRoute({ method, url }), `${method} ${url}`).not.toBeNull();
});
