import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { VmRequest } from "../../src/contract/vm-request.ts";
import type { FuzzCase } from "./fuzz-case.ts";

const BODY_MAX_BYTES = 256 * 1024;
const ID = "11111111-1111-4111-8111-111111111111";

export interface RequestParts {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: readonly (readonly [name: string, value: string])[];
  readonly body?: Buffer | string;
}

/** A request whose framing is right: what is wrong stands in its parts. */
export function requestBytes({ method = "POST", path = "/v1/vms", headers = [], body }: RequestParts): Buffer {
  const content = body === undefined ? undefined : Buffer.from(body as string); // a Buffer is copied as it is
  const has = (wanted: string) => headers.some(([name]) => name.toLowerCase() === wanted);
  const lines = [`${method} ${path} HTTP/1.1`];
  if (!has("host")) lines.push("Host: localhost");
  lines.push("Connection: close");
  if (content !== undefined && !has("content-type")) lines.push("Content-Type: application/json");
  if (content !== undefined && !has("content-length") && !has("transfer-encoding"))
    lines.push(`Content-Length: ${content.length}`);
  for (const [name, value] of headers) lines.push(`${name}: ${value}`);
  return Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"), content ?? Buffer.alloc(0)]);
}

function malformed(what: string, parts: fc.Arbitrary<RequestParts>): fc.Arbitrary<FuzzCase> {
  return parts.map((made) => ({ what, bytes: requestBytes(made), kind: "malformed" as const, complete: true }));
}

function wild(what: string, parts: fc.Arbitrary<RequestParts>): fc.Arbitrary<FuzzCase> {
  return parts.map((made) => ({ what, bytes: requestBytes(made), kind: "wild" as const, complete: true }));
}

const FIELDS = Object.keys(VmRequest.shape);
const field = fc.constantFrom(...FIELDS);
const validRequest = fc.record(
  {
    name: fc.constant("night"),
    labels: fc.constant({ team: "weather" }),
    priority: fc.constantFrom("high", "low"),
    ttl: fc.constant("1h30m"),
    attempts: fc.integer({ min: 1, max: 20 }),
    probe: fc.constant({ type: "tcp" }),
    agentLogLevel: fc.constant("debug"),
    awsSecretAccessKey: fc.constant("not-a-secret"),
  },
  { requiredKeys: [] },
);
const validText = validRequest.map((request) => JSON.stringify({ name: "a", ...request }));

/** Values that no field of a request takes. */
const neverValid = fc.constantFrom<unknown>(null, [[1]], [{}], 1.5, -1, 1e300, { x: { y: 1 } }, [null]);
const controlText = fc
  .tuple(fc.string(), fc.constantFrom("\n", "\r", "\0", "\u001b", "\u007f", "\u2028"), fc.string())
  .map((parts) => parts.join(""));
const nested = fc
  .tuple(fc.integer({ min: 17, max: 20_000 }), fc.constantFrom("[", '{"a":'))
  .map(([depth, open]) => `{"labels":${open.repeat(depth)}1${(open === "[" ? "]" : "}").repeat(depth)}}`);

const malformedBody = fc.oneof(
  malformed(
    "a field nobody knows",
    fc
      .tuple(validRequest, fc.string({ unit: "binary" }))
      .map(([request, key]) => ({ body: JSON.stringify({ ...request, [`x${key}`]: 1 }) })),
  ),
  malformed(
    "a value of the wrong kind",
    fc
      .tuple(validRequest, field, neverValid)
      .map(([request, name, value]) => ({ body: JSON.stringify({ ...request, [name]: value }) })),
  ),
  malformed(
    "no object",
    fc
      .jsonValue()
      .filter((value) => typeof value !== "object" || value === null || Array.isArray(value))
      .map((value) => ({ body: JSON.stringify(value) })),
  ),
  malformed(
    "JSON that breaks off",
    fc
      .tuple(validText, fc.double({ min: 0, max: 0.99, noNaN: true }))
      .map(([text, part]) => ({ body: text.slice(0, Math.floor(text.length * part)) })),
  ),
  malformed(
    "something after the JSON",
    fc
      .tuple(
        validText,
        fc.string({ minLength: 1 }).filter((text) => text.trim() !== ""),
      )
      .map(([text, more]) => ({ body: `${text}${more}` })),
  ),
  malformed(
    "bytes that are no UTF-8",
    fc.tuple(validText, fc.constantFrom(0xff, 0xfe, 0xc0, 0xf5)).map(([text, byte]) => ({
      body: Buffer.concat([Buffer.from(text.slice(0, 2)), Buffer.from([byte]), Buffer.from(text.slice(2))]),
    })),
  ),
  malformed(
    "a poisoned prototype",
    fc
      .constantFrom(
        '{"__proto__":{"a":1}}',
        '{"constructor":{"prototype":{}}}',
        '{"labels":{"__proto__":{"a":"b"}}}',
        '{"probe":{"\\u005f_proto__":null}}',
      )
      .map((body) => ({ body })),
  ),
  malformed(
    "deep nesting",
    nested.map((body) => ({ body })),
  ),
  malformed(
    "many keys",
    fc
      .integer({ min: 100, max: 8_000 })
      .map((count) => ({ body: `{${Array.from({ length: count }, (_, i) => `"k${i}":1`).join(",")}}` })),
  ),
  malformed(
    "a long array",
    fc.integer({ min: 1, max: 50_000 }).map((count) => ({ body: `{"labels":[${"1,".repeat(count)}1]}` })),
  ),
  malformed(
    "line breaks in a line of the guest's environment",
    fc
      .tuple(fc.constantFrom("agentCvmServerUrl", "awsRegion", "agentCertsToken", "aaKbsParams", "name"), controlText)
      .map(([name, value]) => ({ body: JSON.stringify({ [name]: value }) })),
  ),
  malformed(
    "a duration that is none",
    fc
      .tuple(
        fc.constantFrom("ttl", "queueTimeout", "bootTimeout"),
        fc.string({ minLength: 1 }).map((text) => `x${text}`),
      )
      .map(([name, value]) => ({ body: JSON.stringify({ [name]: value }) })),
  ),
  malformed(
    "a pool of another kind",
    fc
      .constantFrom("@host", "vm:default", "{x}", "A", "a".repeat(41), "-a", "a*")
      .map((pool) => ({ body: JSON.stringify({ pool }) })),
  ),
  malformed(
    "a text far too long",
    fc
      .tuple(fc.constantFrom("name", "awsRegion", "aaKbsParams"), fc.integer({ min: 4_097, max: 60_000 }))
      .map(([name, length]) => ({ body: JSON.stringify({ [name]: "a".repeat(length) }) })),
  ),
);
const hugeBody = malformed(
  "a body above the limit",
  fc
    .integer({ min: BODY_MAX_BYTES + 1, max: BODY_MAX_BYTES * 2 })
    .map((length) => ({ body: `{"name":"a"${" ".repeat(length - 12)}}` })),
);

const otherType = fc.oneof(
  fc.constantFrom(
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json\tx",
    "application/json; charset=utf-16",
    "application/jsonx",
    "application/json,text/plain",
    "application/json;;x=y",
    "",
    "/",
    ";",
    "\u00e9",
  ),
  fc.stringMatching(/^[a-z]{1,8}\/[a-z+.-]{1,12}$/).filter((type) => type !== "application/json"),
);
const malformedHeaders = fc.oneof(
  malformed(
    "another content type",
    fc.tuple(validText, otherType).map(([body, type]) => ({ body, headers: [["Content-Type", type]] })),
  ),
  malformed(
    "a compressed body",
    fc
      .tuple(validText, fc.constantFrom("gzip", "br", "deflate", "gzip, identity", "x"))
      .map(([body, encoding]) => ({ body: gzipSync(body), headers: [["Content-Encoding", encoding]] })),
  ),
  malformed(
    "a host that is not ours",
    fc
      .oneof(
        fc.webUrl().map((url) => new URL(url).host),
        fc.constantFrom(
          "localhost.evil.example",
          "127.0.0.1.nip.io",
          "a b",
          "[",
          "@localhost",
          "localhost/..",
          "\u00ff",
        ),
      )
      .map((host) => ({ method: "GET", path: "/v1/vms", headers: [["Host", host]] })),
  ),
  malformed(
    "an origin that is not ours",
    fc
      .oneof(fc.webUrl(), fc.constantFrom("null", "file://", "http://localhost.evil.example"))
      .map((origin) => ({ method: "GET", path: "/v1/vms", headers: [["Origin", origin]] })),
  ),
  malformed(
    "an idempotency key with blanks or too long",
    fc
      .tuple(validText, fc.oneof(fc.constantFrom("a b", "\u00e9", "\t.x\ty"), fc.constant("k".repeat(256))))
      .map(([body, key]) => ({ body, headers: [["Idempotency-Key", key]] })),
  ),
  malformed(
    "credentials of nobody",
    fc
      .stringMatching(/^[A-Za-z0-9_-]{1,80}$/)
      .map((token) => ({ method: "GET", path: "/v1/vms", headers: [["Authorization", `Bearer ${token}`]] })),
  ),
  malformed(
    "an answer that cannot be",
    fc
      .constantFrom("text/html", "image/*", "application/json;q=0", "x")
      .map((accept) => ({ body: "{}", headers: [["Accept", accept]] })),
  ),
  malformed(
    "an expectation",
    fc.constantFrom("x", "200-ok").map((expectation) => ({ body: "{", headers: [["Expect", expectation]] })),
  ),
);

const pathText = fc
  .string({ unit: "binary", minLength: 1, maxLength: 60 })
  .map((text) => `/${encodeURIComponent(text)}`);
const malformedPath = fc.oneof(
  malformed(
    "a page that is not there",
    fc
      .tuple(
        fc.constantFrom("GET", "POST", "PUT", "PATCH", "DELETE"),
        fc.constantFrom("/v1", "/v2", "/x", "/v1/vms/a/b/c", "//"),
        pathText,
      )
      .map(([method, before, path]) => ({ method, path: `${before}${path}` })),
  ),
  malformed(
    "an id that is none",
    fc.tuple(fc.constantFrom("GET", "DELETE"), pathText).map(([method, path]) => ({ method, path: `/v1/vms${path}` })),
  ),
  malformed(
    "a VM that is not there",
    fc
      .tuple(fc.constantFrom("", "/console"), fc.uuid())
      .map(([more, id]) => ({ method: "GET", path: `/v1/vms/${id}${more}` })),
  ),
  malformed(
    "a bad escape",
    fc
      .constantFrom("%", "%zz", "%u0041", "%c0%af", "%ff%fe", "%2")
      .map((text) => ({ method: "GET", path: `/v1/vms/${text}` })),
  ),
  malformed(
    "a way up",
    fc
      .constantFrom(
        "/../../etc/passwd",
        "/docs/static/../../../package.json",
        "/docs/static/%2e%2e%2fpackage.json",
        "/board/static/..%2f..%2f..%2fpackage.json",
        "/docs/static/%2e%2e/%2e%2e/package.json",
        "/pages/../drover.css%00",
      )
      .map((path) => ({ method: "GET", path })),
  ),
  malformed(
    "a query that is none",
    fc
      .tuple(
        fc.constantFrom(
          "limit=-1",
          "limit=x",
          "cursor=%00",
          "state=on",
          "label=%0a",
          "nobody=1",
          "pool=@a",
          "limit=1&limit=2",
          "__proto__=1",
          "state[]=running",
        ),
        fc.string().map(encodeURIComponent),
      )
      .map(([query, more]) => ({ method: "GET", path: `/v1/vms?${query}&x${more}=1` })),
  ),
  malformed(
    "a place in the stream that is none",
    fc
      .tuple(fc.constantFrom("after", "type", "vm"), pathText)
      .map(([name, text]) => ({ method: "GET", path: `/v1/events?${name}=x${text.slice(1)}` })),
  ),
  malformed(
    "a write to the dashboard",
    fc
      .tuple(
        fc.constantFrom("PUT", "POST", "PATCH", "DELETE"),
        fc.constantFrom(
          "/board/api/queues/vm.default/clean/failed",
          "/board/api/queues/vm.default/add",
          "/board/api/queues/vm.default/pause",
          `/board/api/queues/vm.default/${ID}/retry/failed`,
        ),
      )
      .map(([method, path]) => ({ method, path, body: "{}" })),
  ),
  malformed(
    "a group of failures that is not there",
    fc
      .tuple(pathText, fc.constantFrom("retry", "dismiss"))
      .map(([path, action]) => ({ method: "POST", path: `/v1/failures${path}/${action}` })),
  ),
  malformed(
    "a host that is not there",
    pathText.map((path) => ({ method: "DELETE", path: `/v1/hosts${path}` })),
  ),
);

const form = [
  ["Content-Type", "application/x-www-form-urlencoded"],
  ["Sec-Fetch-Site", "same-origin"],
] as const;
const pages = fc.oneof(
  malformed(
    "a login of nobody",
    fc.tuple(fc.string({ unit: "binary" }), fc.webUrl()).map(([token, next]) => ({
      path: "/login",
      headers: form,
      body: new URLSearchParams({ token: `x${token}`, next }).toString(),
    })),
  ),
  malformed(
    "a login from elsewhere",
    fc
      .string()
      .map((token) => ({ path: "/login", headers: form.slice(0, 1), body: `token=${encodeURIComponent(token)}` })),
  ),
  malformed(
    "a form of other shape",
    fc
      .string({ unit: "binary" })
      .map((text) => ({ path: "/login", headers: form, body: `${text}&token[]=1&__proto__=1` })),
  ),
  wild(
    "a cookie of nobody",
    fc
      .stringMatching(/^[ -~]{0,200}$/)
      .map((value) => ({ method: "GET", path: "/v1/vms", headers: [["Cookie", `drover=${value}`]] })),
  ),
  wild(
    "a wish where to go",
    fc.string({ unit: "binary" }).map((next) => ({ method: "GET", path: `/login?next=${encodeURIComponent(next)}` })),
  ),
);

const harmless = fc.oneof(
  wild(
    "any JSON as a request",
    fc
      .oneof(
        fc.jsonValue({ maxDepth: 18 }),
        fc.dictionary(field, fc.oneof(fc.jsonValue(), fc.string({ unit: "binary" }))),
      )
      .map((value) => ({ body: JSON.stringify(value) })),
  ),
  wild(
    "any preference",
    fc
      .stringMatching(/^[ -~]{0,80}$/)
      .filter((text) => !/wait/i.test(text))
      .map((prefer) => ({ body: "{", headers: [["Prefer", prefer]] })),
  ),
  wild(
    "any filter",
    fc
      .tuple(
        fc.constantFrom("state", "pool", "host", "cause", "label", "cursor", "limit"),
        fc.string({ unit: "binary" }),
      )
      .map(([name, value]) => ({ method: "GET", path: `/v1/vms?${name}=${encodeURIComponent(value)}` })),
  ),
  wild(
    "any way of the dashboard",
    fc.tuple(fc.stringMatching(/^[a-z.:*{}-]{0,20}$/), fc.string({ unit: "binary" })).map(([queue, status]) => ({
      method: "GET",
      path: `/board/api/queues?activeQueue=${queue}&status=${encodeURIComponent(status)}&page=-1`,
    })),
  ),
  wild(
    "any header",
    fc
      .tuple(
        fc
          .stringMatching(/^[a-z-]{1,20}$/)
          .filter((name) => !/^(host|connection|content-length|transfer-encoding|upgrade|expect)$/.test(name)),
        fc.stringMatching(/^[ -~\u0080-\u00ff]{0,200}$/),
      )
      .map(([name, value]) => ({ method: "GET", path: "/health", headers: [[name, value]] })),
  ),
);

/** Requests that are right as HTTP and wrong in what they ask. */
export const httpRequests: fc.Arbitrary<FuzzCase> = fc.oneof(
  { arbitrary: malformedBody, weight: 40 },
  { arbitrary: hugeBody, weight: 1 },
  { arbitrary: malformedHeaders, weight: 15 },
  { arbitrary: malformedPath, weight: 20 },
  { arbitrary: pages, weight: 8 },
  { arbitrary: harmless, weight: 16 },
);
