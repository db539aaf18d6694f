import { expect, test } from "vitest";
import { BootGate } from "../../../src/worker/boot-gate.ts";

const never = new AbortController().signal;

test("no more than its places are taken, in order of arrival", async () => {
  const gate = new BootGate(2);
  const inside: string[] = [];
  const enter = async (name: string) => {
    const leave = await gate.enter(never);
    inside.push(name);
    return leave;
  };
  const [first] = await Promise.all([enter("a"), enter("b")]);
  const third = enter("c");
  const fourth = enter("d");
  await Promise.resolve();
  expect(inside).toEqual(["a", "b"]);
  first?.();
  first?.(); // leaving twice frees one place only
  const leaveThird = await third;
  expect(inside).toEqual(["a", "b", "c"]);
  leaveThird();
  await fourth;
  expect(inside).toEqual(["a", "b", "c", "d"]);
});

test("an abort ends the wait and takes no place", async () => {
  const gate = new BootGate(1);
  const leave = await gate.enter(never);
  const stop = new AbortController();
  const waiting = gate.enter(stop.signal);
  stop.abort(new Error("stopped"));
  await expect(waiting).rejects.toThrow("stopped");
  const next = gate.enter(never);
  leave();
  await next;
});

test("one that boots alone waits until nobody boots, and keeps the others out", async () => {
  const gate = new BootGate(2);
  const inside: string[] = [];
  const enter = async (name: string, company: "others" | "alone" = "others") => {
    const leave = await gate.enter(never, company);
    inside.push(name);
    return leave;
  };
  const leaveFirst = await enter("a");
  const suspect = enter("suspect", "alone");
  const behind = [enter("b"), enter("c")];
  await Promise.resolve();
  expect(inside, "nobody passes it, though there is a place").toEqual(["a"]);
  leaveFirst();
  const leaveSuspect = await suspect;
  await Promise.resolve();
  expect(inside).toEqual(["a", "suspect"]);
  leaveSuspect();
  await Promise.all(behind);
  expect(inside).toEqual(["a", "suspect", "b", "c"]);
});

test("whoever stood behind one that gave up gets in", async () => {
  const gate = new BootGate(2);
  await gate.enter(never);
  const stop = new AbortController();
  const suspect = gate.enter(stop.signal, "alone");
  const behind = gate.enter(never);
  stop.abort(new Error("stopped"));
  await expect(suspect).rejects.toThrow("stopped");
  await behind;
});
