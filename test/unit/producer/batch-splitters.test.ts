import fc from "fast-check";
import { expect, test } from "vitest";
import type { BodyPiece, BodySplitter } from "../../../src/producer/batches/body-piece.ts";
import { LineSplitter } from "../../../src/producer/batches/line-splitter.ts";
import { ListSplitter } from "../../../src/producer/batches/list-splitter.ts";

const MAX_BYTES = 200;

/** What a splitter makes of a body that comes in these chunks, or why it refuses it. */
function split(splitter: BodySplitter, chunks: readonly Buffer[]): unknown {
  const found: unknown[] = [];
  const take = (some: Iterable<BodyPiece>) => {
    for (const piece of some) found.push({ ...piece, bytes: piece.bytes?.toString("utf8") ?? "too long" });
  };
  try {
    for (const chunk of chunks) take(splitter.push(chunk));
    take(splitter.end());
    return found;
  } catch (error) {
    return error instanceof Error ? error.message : error;
  }
}

function pieces(make: () => BodySplitter, body: Buffer, cuts: readonly number[] = []): unknown {
  const places = [0, ...[...cuts].map((cut) => cut % (body.length + 1)).sort((a, b) => a - b), body.length];
  const chunks = places.slice(1).map((end, index) => body.subarray(places[index] ?? 0, end));
  return split(make(), chunks);
}

const lines = () => new LineSplitter(MAX_BYTES);
const list = () => new ListSplitter(MAX_BYTES);

test("lines are counted from 1, with empty ones, CRLF, and a last one without an end", () => {
  expect(pieces(lines, Buffer.from('{"a":1}\r\n\n  \t\r\n{"b":2}'))).toEqual([
    { kind: "item", line: 1, bytes: '{"a":1}\r' },
    { kind: "item", line: 4, bytes: '{"b":2}' },
  ]);
  expect(pieces(lines, Buffer.from(""))).toEqual([]);
});

test("a line that is too long is told and not kept, and the next one is whole", () => {
  const body = Buffer.from(`${"x".repeat(MAX_BYTES + 1)}\n{"b":2}\n`);
  expect(pieces(lines, body, [50, 120, 190])).toEqual([
    { kind: "item", line: 1, bytes: "too long" },
    { kind: "item", line: 2, bytes: '{"b":2}' },
  ]);
});

test("a list gives its items, an object its fields as well", () => {
  expect(pieces(list, Buffer.from('\ufeff[{"a":"]}\\"["}, [1,{}] ]'))).toEqual([
    { kind: "item", line: 1, bytes: '{"a":"]}\\"["}' },
    { kind: "item", line: 2, bytes: " [1,{}] " },
  ]);
  expect(pieces(list, Buffer.from('{"defaults" : {"a":"}"}, "items":[1,2] ,"name":"x"}\n'))).toEqual([
    { kind: "field", name: "defaults", bytes: ' {"a":"}"}' },
    { kind: "item", line: 1, bytes: "1" },
    { kind: "item", line: 2, bytes: "2" },
    { kind: "field", name: "name", bytes: '"x"' },
  ]);
  expect(pieces(list, Buffer.from('{"items":[]}'))).toEqual([]);
  expect(pieces(list, Buffer.from("{}"))).toEqual([]);
});

test.each([
  ["", "the body is empty"],
  ["7", "the body is neither a list nor an object with `items`"],
  ['{"items":{}}', "the body has `items` that are no list"],
  ['{"items":[1', "the body ends before it is whole"],
  ['{"items":[1]', "the body ends before it is whole"],
  ["[1] 2", "the body is not valid JSON"],
  ['{"items":[1],"items":[2]}', "the body has a field twice"],
  ['{"a":1,}', "the body is not valid JSON"],
  ['{"a" 1}', "the body is not valid JSON"],
  [`{"a":"${"x".repeat(MAX_BYTES)}"}`, "the body has a field besides `items` that is too long"],
])("a body like %s is refused", (body, message) => {
  expect(pieces(list, Buffer.from(body))).toBe(message);
});

const cuts = fc.array(fc.nat(), { maxLength: 12 });

test("however the bytes are chunked, the pieces are the same", () => {
  const json = fc.jsonValue({ maxDepth: 3 }).map((value) => JSON.stringify(value));
  const bodies = fc.oneof(
    fc.array(json, { maxLength: 8 }).map((items) => items.join("\n")),
    fc.array(json, { maxLength: 8 }).map((items) => `[${items.join(" ,")}]`),
    fc.array(json, { maxLength: 8 }).map((items) => `{"defaults":{"x":"\\\\"},"items":[${items.join(",")}],"n":1}`),
    fc.string({ unit: fc.constantFrom(...'[]{},:"\\\n a1é'.split("")), maxLength: 60 }),
  );
  fc.assert(
    fc.property(bodies, cuts, (text, places) => {
      const body = Buffer.from(text);
      for (const make of [lines, list]) expect(pieces(make, body, places)).toEqual(pieces(make, body));
    }),
    { numRuns: 600 },
  );
});

test("what is a JSON list comes out as its items, one by one", () => {
  fc.assert(
    fc.property(fc.array(fc.jsonValue({ maxDepth: 2 }), { maxLength: 6 }), cuts, (items, places) => {
      const found = pieces(() => new ListSplitter(1e6), Buffer.from(JSON.stringify(items, null, 1)), places);
      const values = (found as { bytes: string }[]).map(({ bytes }) => JSON.parse(bytes));
      expect(values).toEqual(JSON.parse(JSON.stringify(items)));
    }),
  );
});
