import { once } from "node:events";
import { connect } from "node:net";
import fc from "fast-check";
import { expect, test } from "vitest";
import { VmRequest } from "../../src/contract/vm-request.ts";
import { Problem } from "../../src/contract/vm-view.ts";
import { SMUGGLING } from "../fuzz/smuggling.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { type HttpWorld, openHttpWorld } from "./http-world.ts";

const JSON_TYPE = { "content-type": "application/json" };
const post = (world: HttpWorld, payload: string | Buffer, headers: Record<string, string> = JSON_TYPE) =>
  world.app.inject({ method: "POST", url: "/v1/vms", payload, headers });

test.each([
  ["{", "malformed_body"],
  ['{"name": CANARY}', "malformed_body"],
  ['{"name":"a"}garbage', "malformed_body"],
  ['{"__proto__":{"a":1}}', "malformed_body"],
  ['{"labels":{"constructor":{"prototype":{"a":1}}}}', "malformed_body"],
  ['{"\\u005f_proto__":{"a":1}}', "malformed_body"],
  ["[".repeat(17) + "]".repeat(17), "malformed_body"],
  [`{"name":${"[".repeat(100_000)}${"]".repeat(100_000)}}`, "malformed_body"],
  ["", "invalid_request"],
  ["null", "invalid_request"],
  ["[]", "invalid_request"],
  ['"text"', "invalid_request"],
  ['{"name":null}', "invalid_request"],
])("a body of %j is refused: %s", async (body, code) => {
  await using world = await openHttpWorld();
  const reply = await post(world, body);
  expect(reply.statusCode).toBe(400);
  expect(reply.json().code).toBe(code);
  expect(reply.body, "parsers quote what they read").not.toContain("CANARY");
  expect(await world.redis.exists(world.keys.allVms)).toBe(0);
});

test("brackets and quotes inside strings are no nesting", async () => {
  await using world = await openHttpWorld();
  const reply = await post(world, JSON.stringify({ name: `${"[{".repeat(40)}\\"\\` }));
  expect(reply.statusCode).toBe(202);
});

test("whatever JSON is sent, it is accepted or refused with a problem, never a failure of the server", async () => {
  await using world = await openHttpWorld();
  const field = fc.constantFrom(...Object.keys(VmRequest.shape), "probe.type", "__proto", "");
  const body = fc.oneof(
    fc.jsonValue({ maxDepth: 20 }),
    fc.dictionary(field, fc.oneof(fc.jsonValue(), fc.string({ unit: "binary" }))),
  );
  await fc.assert(
    fc.asyncProperty(body, async (value) => {
      const reply = await post(world, JSON.stringify(value));
      expect([200, 202, 400, 422]).toContain(reply.statusCode);
      if (reply.statusCode >= 400) expect(Problem.parse(reply.json()).status).toBe(reply.statusCode);
    }),
    { numRuns: 300 },
  );
});

test("a body that is not UTF-8 is refused", async () => {
  await using world = await openHttpWorld();
  const reply = await post(world, Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]));
  expect(reply.json()).toMatchObject({ code: "malformed_body", detail: "the body is not UTF-8" });
});

test("a body above the limit is refused, one just below is read", async () => {
  await using world = await openHttpWorld();
  const padded = (bytes: number) => `{"name":"a"${" ".repeat(bytes - 12)}}`;
  expect((await post(world, padded(256 * 1024))).statusCode).toBe(202);
  const reply = await post(world, padded(256 * 1024 + 1));
  expect([reply.statusCode, reply.json().code]).toEqual([413, "body_too_large"]);
});

test("a million keys are refused quickly", async () => {
  await using world = await openHttpWorld();
  const body = `{${Array.from({ length: 30_000 }, (_, i) => `"k${i}":1`).join(",")}}`.slice(0, 256 * 1024);
  const startedMs = performance.now();
  const reply = await post(world, body);
  expect(reply.statusCode).toBe(400);
  expect(performance.now() - startedMs).toBeLessThan(2_000);
  expect(reply.body.length).toBeLessThan(20_000);
});

test.each([
  "text/plain",
  "application/x-www-form-urlencoded",
  "multipart/form-data; boundary=x",
  "application/json-patch+json",
  "application/jsonx",
  "application/json; charset=latin1",
  "application/json; charset=utf-16",
  "application/json\tx",
  "application/json, text/plain",
  "application/json ;text",
  "x",
  "",
])("Content-Type %j is not read", async (type) => {
  await using world = await openHttpWorld();
  const reply = await post(world, '{"name":5}', { "content-type": type });
  expect([reply.statusCode, reply.json().code]).toEqual([415, "unsupported_media_type"]);
});

test.each([
  "application/json",
  "APPLICATION/JSON",
  "application/json; charset=utf-8",
  'application/json;charset="UTF-8"',
])("Content-Type %j is read and checked by the schema", async (type) => {
  await using world = await openHttpWorld();
  const reply = await post(world, '{"name":5}', { "content-type": type });
  expect([reply.statusCode, reply.json().code]).toEqual([400, "invalid_request"]);
});

test("compressed bodies are not unpacked", async () => {
  await using world = await openHttpWorld();
  const reply = await post(world, "{}", { ...JSON_TYPE, "content-encoding": "gzip" });
  expect([reply.statusCode, reply.json().code]).toEqual([415, "unsupported_media_type"]);
});

test("a long part of a path and a bad escape are refused", async () => {
  await using world = await openHttpWorld();
  expect((await world.app.inject(`/v1/vms/${"a".repeat(5_000)}`)).json().code).toBe("uri_too_long");
  expect((await world.app.inject("/v1/vms/%zz")).json().code).toBe("invalid_request");
});

test("a request head that is too large is refused on the wire", async () => {
  await using world = await openHttpWorld({ listen: true, env: { MANAGER_HTTP_SERVER_MAX_HEADER_BYTES: "4096" } });
  const answer = await raw(world, `GET /health HTTP/1.1\r\nHost: localhost\r\nX: ${"a".repeat(8_000)}\r\n\r\n`);
  expect(answer.status).toBe(431);
  expect(answer.problem?.code).toBe("headers_too_large");
});

test("what two servers could read differently is refused, once, and its connection closed", async () => {
  await using world = await openHttpWorld({ listen: true });
  const answers = await Promise.all(SMUGGLING.map(async ([what, text]) => ({ what, ...(await raw(world, text)) })));
  for (const { what, status, answers: count } of answers) {
    expect(status, what).toSatisfy((code: number) => (code >= 400 && code < 500) || what === "a tunnel");
    expect(count, `${what}: what follows is not read`).toBeLessThanOrEqual(1);
  }
  expect(await world.redis.exists(world.keys.allVms)).toBe(0);
});

test("an HTTP/1.0 request without a Host is refused", async () => {
  await using world = await openHttpWorld({ listen: true });
  expect((await raw(world, "GET /health HTTP/1.0\r\n\r\n")).status).toBe(421);
});

test("who sends a body byte by byte is cut when the time of the request is over", async () => {
  const env = { MANAGER_HTTP_SERVER_READ_HEADER_TIMEOUT: "300ms", MANAGER_HTTP_SERVER_READ_TIMEOUT: "600ms" };
  await using world = await openHttpWorld({ listen: true, env });
  const head = `POST /v1/vms HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n`;
  const startedMs = performance.now();
  const answer = await raw(world, `${head}{`, { everyMs: 50, byte: " " });
  expect(answer.status).toBe(408);
  expect(performance.now() - startedMs).toBeLessThan(5_000);
});

test("one connection more than the listener takes is closed; the others go on", async () => {
  await using world = await openHttpWorld({ listen: true });
  expect(world.app.server.maxConnections).toBeGreaterThan(100);
  const { port } = new URL(world.url);
  const idle = [1, 2].map(() => connect(Number(port), "127.0.0.1"));
  await waitFor(() => count(world).then((open) => open === 2));
  world.app.server.maxConnections = 2;
  const third = connect(Number(port), "127.0.0.1").on("error", () => undefined);
  await once(third, "close");
  idle[0]?.write("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const [answer] = await once(idle[0] ?? third, "data");
  expect(String(answer)).toMatch(/^HTTP\/1\.1 200 /);
  for (const socket of idle) socket.destroy();
});

function count({ app }: HttpWorld): Promise<number> {
  return new Promise((resolve, reject) =>
    app.server.getConnections((error, open) => (error === null ? resolve(open) : reject(error))),
  );
}

test("who sends a request byte by byte is cut when its time is over", async () => {
  const env = { MANAGER_HTTP_SERVER_READ_HEADER_TIMEOUT: "300ms", MANAGER_HTTP_SERVER_READ_TIMEOUT: "600ms" };
  await using world = await openHttpWorld({ listen: true, env });
  const answer = await raw(world, "GET /health HTTP/1.1\r\nHost: localhost\r\nX: ");
  expect(answer.status).toBe(408);
  expect(answer.problem?.code).toBe("request_timeout");
});

/** A connection that the server leaves open is left after this time. */
const KEPT_OPEN_MS = 5_000;

/** What comes back on a connection until the server closes it. */
async function raw(
  world: HttpWorld,
  text: string,
  trickle?: { everyMs: number; byte: string },
): Promise<{ status: number; answers: number; problem: Problem | undefined }> {
  const { port } = new URL(world.url);
  const socket = connect(Number(port), "127.0.0.1");
  const chunks: Buffer[] = [];
  socket.setTimeout(KEPT_OPEN_MS, () => socket.destroy());
  socket.write(text, "latin1");
  const more = setInterval(() => trickle !== undefined && socket.write(trickle.byte), trickle?.everyMs ?? 1_000);
  try {
    for await (const chunk of socket) chunks.push(Buffer.from(chunk));
  } finally {
    clearInterval(more);
  }
  const answer = Buffer.concat(chunks).toString("utf8");
  const body = answer.slice(answer.indexOf("\r\n\r\n") + 4);
  return {
    status: Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? 0),
    answers: answer.match(/HTTP\/1\.1 \d{3} /g)?.length ?? 0,
    problem: body.startsWith("{") ? Problem.safeParse(JSON.parse(body)).data : undefined,
  };
}
