import fc from "fast-check";
import type { FuzzCase } from "./fuzz-case.ts";
import { requestBytes } from "./http-requests.ts";
import { SMUGGLING } from "./smuggling.ts";

/** Requests that are changed byte by byte. Valid ones among them change nothing. */
const TEMPLATES = [
  requestBytes({ method: "GET", path: "/health" }),
  requestBytes({ method: "GET", path: "/v1/vms?limit=5&state=running" }),
  requestBytes({ method: "HEAD", path: "/v1/vms" }),
  requestBytes({ body: '{"nobody":1}' }),
  requestBytes({ body: '5\r\n{"no":\r\n2\r\n1}\r\n0\r\n\r\n', headers: [["Transfer-Encoding", "chunked"]] }),
  requestBytes({ method: "DELETE", path: "/v1/vms/11111111-1111-4111-8111-111111111111" }),
  ...SMUGGLING.map(([, text]) => Buffer.from(text, "latin1")),
];
const template = fc.constantFrom(...TEMPLATES);

type Change = (bytes: Buffer) => Buffer;
const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const nasty = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 8 }),
  fc
    .constantFrom(
      "\r\n",
      "\n",
      "\r",
      "\0",
      " ",
      "\t",
      ":",
      ";",
      "\r\n\r\n",
      "HTTP/1.1",
      "%00",
      "\xff",
      "Content-Length: 5\r\n",
      "Transfer-Encoding: chunked\r\n",
    )
    .map((text) => Buffer.from(text, "latin1")),
);
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.tuple(place, nasty).map(
    ([at, piece]) =>
      (bytes: Buffer) =>
        splice(bytes, at, 0, piece),
  ),
  fc.tuple(place, nasty).map(
    ([at, piece]) =>
      (bytes: Buffer) =>
        splice(bytes, at, piece.length, piece),
  ),
  fc.tuple(place, fc.integer({ min: 1, max: 40 })).map(
    ([at, length]) =>
      (bytes: Buffer) =>
        splice(bytes, at, length, new Uint8Array()),
  ),
  fc.tuple(place, fc.integer({ min: 2, max: 50 })).map(
    ([at, times]) =>
      (bytes: Buffer) =>
        repeatLine(bytes, at, times),
  ),
  place.map((at) => (bytes: Buffer) => bytes.subarray(0, Math.floor(bytes.length * at))),
);

function splice(bytes: Buffer, at: number, removed: number, piece: Uint8Array): Buffer {
  const start = Math.floor(bytes.length * at);
  return Buffer.concat([bytes.subarray(0, start), piece, bytes.subarray(start + removed)]);
}

function repeatLine(bytes: Buffer, at: number, times: number): Buffer {
  const lines = bytes.toString("latin1").split("\r\n");
  const line = Math.floor(lines.length * at);
  lines.splice(line, 1, ...Array.from({ length: times }, () => lines[line] ?? ""));
  return Buffer.from(lines.join("\r\n"), "latin1");
}

const changed: fc.Arbitrary<FuzzCase> = fc
  .tuple(template, fc.array(change, { minLength: 1, maxLength: 6 }))
  .map(([start, changes]) => ({
    what: "a request with changed bytes",
    bytes: changes.reduce((bytes, make) => make(bytes), start),
    kind: "wild",
    complete: false,
  }));
const noise: fc.Arbitrary<FuzzCase> = fc
  .uint8Array({ minLength: 1, maxLength: 2_000 })
  .map((bytes) => ({ what: "noise", bytes: Buffer.from(bytes), kind: "wild", complete: false }));
const smuggled: fc.Arbitrary<FuzzCase> = fc
  .constantFrom(...SMUGGLING)
  .map(([what, text]) => ({ what, bytes: Buffer.from(text, "latin1"), kind: "malformed", complete: false }));
const headers: fc.Arbitrary<FuzzCase> = fc.integer({ min: 2_000, max: 20_000 }).map((count) => ({
  what: "too many headers",
  bytes: Buffer.from(`GET /health HTTP/1.1\r\nHost: localhost\r\n${"X: y\r\n".repeat(count)}Content-Length: x\r\n\r\n`),
  kind: "malformed",
  complete: false,
}));

/** What goes onto a connection as bytes, whether or not it is HTTP. */
export const httpBytes: fc.Arbitrary<FuzzCase> = fc.oneof(
  { arbitrary: changed, weight: 60 },
  { arbitrary: noise, weight: 15 },
  { arbitrary: smuggled, weight: 24 },
  { arbitrary: headers, weight: 1 },
);
