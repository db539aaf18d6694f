import fc from "fast-check";
import type { FuzzCase } from "./fuzz-case.ts";

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const FRAME_TYPES = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
};
const END_STREAM = 1;
const END_HEADERS = 4;

function frame(type: number, flags: number, stream: number, content: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(content.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream >>> 0, 5);
  return Buffer.concat([head, content]);
}

/** Header fields without compression: `literal, never indexed`. */
function headerBlock(fields: readonly (readonly [name: string, value: string])[]): Buffer {
  const text = (value: string) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value, "latin1")]);
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0x10]), text(name), text(value)]));
}

const BLOCK = headerBlock([
  [":method", "POST"],
  [":scheme", "http"],
  [":path", "/manager.ManagerService/RemoveVm"],
  [":authority", "localhost"],
  ["content-type", "application/grpc"],
  ["te", "trailers"],
]);
const SETTINGS = frame(FRAME_TYPES.settings, 0, 0, Buffer.alloc(0));
const OPEN = frame(FRAME_TYPES.headers, END_HEADERS, 1, BLOCK);
const MESSAGE = frame(FRAME_TYPES.data, END_STREAM, 1, Buffer.from([0, 0, 0, 0, 3, 10, 1, 0x78]));

const anyFrame = fc
  .tuple(
    fc.oneof(fc.constantFrom(...Object.values(FRAME_TYPES)), fc.integer({ min: 0, max: 255 })),
    fc.integer({ min: 0, max: 255 }),
    fc.oneof(fc.constantFrom(0, 1, 2, 3, 0x7fffffff, 0xffffffff), fc.nat()),
    fc.oneof(fc.uint8Array({ maxLength: 64 }), fc.constant(BLOCK), fc.constant(new Uint8Array(16_385))),
  )
  .map(([type, flags, stream, content]) => frame(type, flags, stream, content));
const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

function bytes(what: string, made: fc.Arbitrary<Buffer>): fc.Arbitrary<FuzzCase> {
  return made.map((content) => ({ what, kind: "wild", complete: false, bytes: content, protocol: "grpc" }));
}

const many = (count: number, one: (i: number) => Buffer) =>
  Buffer.concat(Array.from({ length: count }, (_, i) => one(i)));
const count = fc.integer({ min: 10, max: 2_000 });

/** What goes onto a connection to the gRPC listener as bytes, whether or not it is HTTP/2. */
export const grpcBytes: fc.Arbitrary<FuzzCase> = fc.oneof(
  {
    weight: 10,
    arbitrary: bytes(
      "noise",
      fc.uint8Array({ minLength: 1, maxLength: 2_000 }).map((made) => Buffer.from(made)),
    ),
  },
  { weight: 3, arbitrary: bytes("HTTP/1.1", fc.constant(Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))) },
  {
    weight: 30,
    arbitrary: bytes(
      "frames in any order",
      fc
        .array(anyFrame, { minLength: 1, maxLength: 20 })
        .map((frames) => Buffer.concat([PREFACE, SETTINGS, ...frames])),
    ),
  },
  {
    weight: 30,
    arbitrary: bytes(
      "a call with changed bytes",
      fc.tuple(place, fc.uint8Array({ minLength: 1, maxLength: 6 })).map(([at, piece]) => {
        const call = Buffer.concat([PREFACE, SETTINGS, OPEN, MESSAGE]);
        call.set(piece.slice(0, call.length - Math.floor(call.length * at)), Math.floor(call.length * at));
        return call;
      }),
    ),
  },
  {
    weight: 3,
    arbitrary: bytes(
      "calls given up at once",
      count.map((calls) =>
        Buffer.concat([
          PREFACE,
          SETTINGS,
          many(calls, (i) =>
            Buffer.concat([
              frame(FRAME_TYPES.headers, END_HEADERS, 2 * i + 1, BLOCK),
              frame(FRAME_TYPES.reset, 0, 2 * i + 1, Buffer.from([0, 0, 0, 8])),
            ]),
          ),
        ]),
      ),
    ),
  },
  {
    weight: 3,
    arbitrary: bytes(
      "headers without end",
      count.map((frames) =>
        Buffer.concat([
          PREFACE,
          SETTINGS,
          frame(FRAME_TYPES.headers, 0, 1, BLOCK),
          many(frames, (i) => frame(FRAME_TYPES.continuation, 0, 1, headerBlock([[`x${i}`, "y".repeat(100)]]))),
        ]),
      ),
    ),
  },
  {
    weight: 3,
    arbitrary: bytes(
      "pings and settings without end",
      count.map((frames) =>
        Buffer.concat([
          PREFACE,
          SETTINGS,
          many(frames, (i) => (i % 2 === 0 ? frame(FRAME_TYPES.ping, 0, 0, Buffer.alloc(8)) : SETTINGS)),
        ]),
      ),
    ),
  },
  {
    weight: 3,
    arbitrary: bytes(
      "calls without end",
      count.map((calls) =>
        Buffer.concat([
          PREFACE,
          SETTINGS,
          many(calls, (i) => frame(FRAME_TYPES.headers, END_HEADERS, 2 * i + 1, BLOCK)),
        ]),
      ),
    ),
  },
);
