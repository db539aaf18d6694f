import fc from "fast-check";
import { expect, test } from "vitest";
import { SseParser } from "../../../src/cli/client/sse-parser.ts";

const STREAM =
  'retry: 2000\nid: 5-0\n\nid: 6-0\nevent: vm.ready\ndata: {"a":1}\n\n: heartbeat\nid: 7-0\n\ndata: one\r\ndata:two\r\n\r\nevent: lost\n\ndata\n\n';
const MESSAGES = [
  { id: "6-0", event: "vm.ready", data: '{"a":1}' },
  { id: "7-0", event: "message", data: "one\ntwo" },
  { id: "7-0", event: "message", data: "" },
];

test("messages are the same wherever the stream is cut into chunks", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: STREAM.length }), { maxLength: 10 }), (cuts) => {
      const parser = new SseParser();
      const places = [0, ...cuts.sort((a, b) => a - b), STREAM.length];
      const messages = places.slice(1).flatMap((to, index) => parser.push(STREAM.slice(places[index], to)));
      expect(messages).toEqual(MESSAGES);
      expect(parser.lastId).toBe("7-0");
    }),
  );
});

test("an endless line is refused before it fills memory", () => {
  const parser = new SseParser();
  expect(() => {
    for (let index = 0; index < 100; index += 1) parser.push("x".repeat(100_000));
  }).toThrow(RangeError);
});
