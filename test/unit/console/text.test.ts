import { expect, test } from "vitest";
import { whatHappened } from "../../../src/console/fleet-event.js";
import { routeOf } from "../../../src/console/route.js";
import { ago, readable } from "../../../src/console/text.js";
import { EVENT_CATALOGUE } from "../../../src/contract/vm-event.ts";

test.each(Object.keys(EVENT_CATALOGUE))("%s is told in words", (type) => {
  const event = { id: "1", type, subject: "s", time: "", owner: "o", data: { cause: { code: "c", message: "m" } } };
  const sentence = whatHappened(event);
  expect(sentence, "a sentence of its own").not.toBe(type.slice(type.indexOf(".") + 1).replaceAll("_", " "));
  expect(sentence).not.toMatch(/undefined|null|\[object/);
});

test("an event of a version to come is told by its name", () => {
  const event = { id: "1", type: "batch.half_done", subject: "s", time: "", owner: "o", data: {} };
  expect(whatHappened(event)).toBe("half done");
});

test("what a guest writes is text, without orders to a terminal", () => {
  expect(readable("\u001b[31mred\u001b[0m\r\n\u001b]0;title\u0007next\u0000\u0008!\rover")).toBe("red\nnext!\nover");
  expect(readable("a\tb\n<b>")).toBe("a\tb\n<b>");
});

test.each([
  [0, "now"],
  [45_000, "45 s ago"],
  [-90 * 60_000, "in 2 h"],
  [3 * 86_400_000, "3 days ago"],
])("%i ms are %s", (ms, text) => {
  expect(ago(ms)).toBe(text);
});

test.each([
  ["/", "fleet", ""],
  ["/vms", "vms", ""],
  ["/vms/a%2Fb", "vm", "a/b"],
  ["/vms/%zz", "vm", "%zz"],
  ["/hosts/host-a", "host", "host-a"],
  ["/batches/b1", "batch", "b1"],
  ["/board", "nowhere", ""],
  ["/vms/a/b", "nowhere", ""],
])("%s shows %s", (pathname, view, id) => {
  expect(routeOf({ pathname, search: "" })).toMatchObject({ view, id });
});
