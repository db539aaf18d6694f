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
