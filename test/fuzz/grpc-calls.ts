import { gzipSync } from "node:zlib";
import fc from "fast-check";
import type { FuzzCase } from "./fuzz-case.ts";

const SERVICE = "/manager.ManagerService";
const TIMEOUT = { "grpc-timeout": "8S" };
/** Above what the listener takes. */
const HUGE_BYTES = 1_048_577;

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;
/** Field numbers of `manager.CreateReq`; 2, 3 and 4 are files. */
const FIELDS = Array.from({ length: 13 }, (_, i) => i + 1);
const TEXT_FIELDS = FIELDS.filter((number) => ![2, 3, 4].includes(number));
const TTL = 7;
const KBS_PARAMS = 13;

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push((rest % 128) + (rest >= 128 ? 128 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return Buffer.from(bytes);
}

function field(number: number, wireType: number, content: Uint8Array): Buffer {
  const length = wireType === BYTES ? varint(content.length) : Buffer.alloc(0);
  return Buffer.concat([varint(number * 8 + wireType), length, content]);
}

const text = (number: number, value: string) => field(number, BYTES, Buffer.from(value));

/** A message as gRPC frames it. */
function framed(message: Uint8Array, { flag = 0, length = message.length } = {}): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag, 0);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
}

interface CallParts {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

const call =
  (kind: FuzzCase["kind"]) =>
  (what: string, parts: fc.Arbitrary<CallParts>): fc.Arbitrary<FuzzCase> =>
    parts.map(({ method = "CreateVm", headers = {}, body }) => ({
      what,
      kind,
      complete: true,
      bytes: body,
      call: { path: method.startsWith("/") ? method : `${SERVICE}/${method}`, headers: { ...TIMEOUT, ...headers } },
    }));
const malformed = call("malformed");
const wild = call("wild");

const method = fc.constantFrom("CreateVm", "RemoveVm", "CVMInfo", "AttestationPolicy");
const junk = fc.uint8Array({ minLength: 1, maxLength: 300 });
const controlText = fc
  .tuple(fc.string(), fc.constantFrom("\n", "\r", "\0", "\u001b", "\u2028"), fc.string())
  .map((parts) => parts.join(""));

const messages = fc.oneof(
  malformed(
    "a text field whose bytes are no UTF-8",
    fc
      .tuple(fc.constantFrom(...TEXT_FIELDS), fc.constantFrom(0xff, 0xc0, 0xfe))
      .map(([number, byte]) => ({ body: framed(field(number, BYTES, Buffer.from([0x61, byte, 0x62]))) })),
  ),
  malformed(
    "a field of the wrong wire type",
    fc
      .tuple(fc.constantFrom(...FIELDS), fc.constantFrom(VARINT, FIXED64, FIXED32, 3, 4, 6, 7), junk)
      .map(([number, wireType, content]) => ({ body: framed(field(number, wireType, content)) })),
  ),
  malformed(
    "a message that breaks off",
    fc
      .tuple(fc.constantFrom(...FIELDS), fc.integer({ min: 1, max: 2 ** 31 }), fc.string())
      .map(([number, more, value]) => {
        const content = Buffer.from(value);
        const head = Buffer.concat([varint(number * 8 + BYTES), varint(content.length + more)]);
        return { body: framed(Buffer.concat([head, content])) };
      }),
  ),
  malformed(
    "a duration that is none",
    fc.string().map((value) => ({ body: framed(text(TTL, `x${value}`)) })),
  ),
  malformed(
    "line breaks in a line of the guest's environment",
    fc
      .tuple(fc.constantFrom(...TEXT_FIELDS), controlText)
      .map(([number, value]) => ({ body: framed(text(number, value)) })),
  ),
  malformed(
    "words for the kernel command line",
    fc.string({ unit: "binary" }).map((value) => ({ body: framed(text(KBS_PARAMS, `${value} init=/bin/sh`)) })),
  ),
  malformed(
    "a file far too long",
    fc.constantFrom(2, 3, 4).map((number) => ({ body: framed(field(number, BYTES, Buffer.alloc(66_000))) })),
  ),
  malformed(
    "an id of nobody",
    fc
      .tuple(fc.constantFrom("RemoveVm", "AttestationPolicy"), fc.string({ unit: "binary", minLength: 1 }))
      .map(([name, id]) => ({ method: name, body: framed(text(1, id)) })),
  ),
  wild(
    "any bytes as a message",
    fc.tuple(method, junk).map(([name, bytes]) => ({ method: name, body: framed(bytes) })),
  ),
);

const framing = fc.oneof(
  malformed(
    "a length that is a lie",
    fc
      .tuple(method, junk, fc.integer({ min: 1, max: 2 ** 32 - 400 }))
      .map(([name, bytes, more]) => ({ method: name, body: framed(bytes, { length: bytes.length + more }) })),
  ),
  malformed(
    "a flag that is none",
    fc
      .tuple(fc.constantFrom("CreateVm", "RemoveVm"), fc.integer({ min: 2, max: 255 }))
      .map(([name, flag]) => ({ method: name, body: framed(text(TTL, "x"), { flag }) })),
  ),
  malformed(
    "compressed junk",
    fc
      .tuple(fc.constantFrom("gzip", "deflate", "snappy"), junk)
      .map(([encoding, bytes]) => ({ headers: { "grpc-encoding": encoding }, body: framed(bytes, { flag: 1 }) })),
  ),
  malformed(
    "a compressed bomb",
    fc.constant({
      headers: { "grpc-encoding": "gzip" },
      body: framed(gzipSync(Buffer.alloc(32 * HUGE_BYTES)), { flag: 1 }),
    }),
  ),
  malformed("a message above the limit", fc.constant({ body: framed(field(2, BYTES, Buffer.alloc(HUGE_BYTES))) })),
  malformed(
    "no message",
    method.map((name) => ({ method: name, body: Buffer.alloc(0) })),
  ),
  malformed(
    "two messages",
    method.map((name) => ({ method: name, body: Buffer.concat([framed(text(TTL, "x")), framed(text(TTL, "x"))]) })),
  ),
  wild(
    "any bytes as a body",
    fc.tuple(method, junk).map(([name, bytes]) => ({ method: name, body: Buffer.from(bytes) })),
  ),
);

const broken = framed(text(TTL, "x"));
const heads = fc.oneof(
  malformed(
    "a method that is not there",
    fc
      .tuple(fc.constantFrom("/manager.ManagerService/", "/x.Y/", "/", "//"), fc.stringMatching(/^[A-Za-z.%/]{0,30}$/))
      .map(([before, name]) => ({ method: `${before}x${name}`, body: framed(Buffer.alloc(0)) })),
  ),
  malformed(
    "another content type",
    fc
      .constantFrom("application/json", "text/html", "application/grpc-web", "application/grpc+json", "x", "")
      .map((type) => ({ headers: { "content-type": type }, body: broken })),
  ),
  malformed(
    "a time limit that is none",
    fc
      .oneof(fc.constantFrom("", "1", "S", "-1S", "999999999S", "1e3S", "0n"), fc.stringMatching(/^[a-z0-9]{1,12}$/))
      .map((timeout) => ({ headers: { "grpc-timeout": timeout }, body: broken })),
  ),
  malformed(
    "metadata that does not fit",
    fc
      .tuple(
        fc.constantFrom("idempotency-key", "drover-name", "drover-pool", "drover-priority", "drover-label", "x-bin"),
        fc.stringMatching(/^[ -~]{1,300}$/),
      )
      .map(([name, value]) => ({ headers: { [name]: value }, body: broken })),
  ),
  malformed(
    "a pool that nobody may name",
    fc.constantFrom("@host", "a+tdx", "A", "{x}", "vm:a").map((pool) => ({
      headers: { "drover-pool": pool },
      body: framed(Buffer.alloc(0)),
    })),
  ),
  malformed(
    "credentials of nobody",
    fc.stringMatching(/^[A-Za-z0-9_-]{1,80}$/).map((token) => ({
      headers: { authorization: `Bearer ${token}` },
      body: broken,
    })),
  ),
);

/** What every server answers while it lives. */
export const SIGN_OF_LIFE: FuzzCase = {
  what: "a sign of life",
  kind: "wild",
  complete: true,
  bytes: framed(Buffer.alloc(0)),
  call: { path: `${SERVICE}/CVMInfo`, headers: {} },
};

/** Calls over a right HTTP/2 connection, wrong in what they say. */
export const grpcCalls: fc.Arbitrary<FuzzCase> = fc.oneof(
  { arbitrary: messages, weight: 60 },
  { arbitrary: framing, weight: 20 },
  { arbitrary: heads, weight: 20 },
);
