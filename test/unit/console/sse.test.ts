import fc from "fast-check";
import { expect, test } from "vitest";
import { frameReader } from "../../../src/console/sse.js";

test("a stream is the same frames however its pieces arrive", () => {
  const stream = 'retry: 2000\nid: 1-0\n\nid: 2-0\nevent: vm.queued\ndata: {"a":"ä: b"}\n\n: heartbeat\nid: 3-0\n\n';
  const wanted = [
    { type: "message", data: "", id: "1-0" },
    { type: "vm.queued", data: '{"a":"ä: b"}', id: "2-0" },
    { type: "message", data: "", id: "3-0" },
  ];
  fc.assert(
    fc.property(fc.array(fc.nat(stream.length), { maxLength: 8 }), (cuts) => {
      const next = frameReader();
      const at = [0, ...cuts.sort((a, b) => a - b), stream.length];
      expect(at.slice(1).flatMap((end, i) => next(stream.slice(at[i], end)))).toEqual(wanted);
    }),
  );
});

test("a frame that has not ended is not told", () => {
  const next = frameReader();
  expect(next("event: vm.queued\ndata: {}\n")).toEqual([]);
  expect(next("\n")).toEqual([{ type: "vm.queued", data: "{}", id: undefined }]);
});
