import { expect, test } from "vitest";
import { VmWatch } from "../../../src/producer/vm-watch.ts";
import type { EventListener } from "../../../src/queue/event-feed.ts";

const NEVER = new AbortController().signal;

function openWatch() {
  const listeners = new Set<EventListener>();
  const watch = new VmWatch({
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  });
  watch.start();
  const emit = (vmId: string) => {
    const event = {
      specversion: "1.0",
      id: "x",
      source: "x",
      type: "vm.queued",
      subject: vmId,
      time: "x",
      datacontenttype: "application/json",
      sequence: "1",
      owner: "x",
      data: {},
    } as const;
    for (const listener of listeners) listener([{ id: "1-0", event }]);
  };
  return { watch, emit, listeners };
}

test("a change wakes those who watch this VM, and only them", async () => {
  const { watch, emit } = openWatch();
  using a = watch.open("a");
  using b = watch.open("b");
  const woken = a.next(5_000, NEVER);
  emit("a");
  expect(await woken).toBe("changed");
  expect(await b.next(10, NEVER)).toBe("timeout");
});

test("a change while nobody waits is remembered once", async () => {
  const { watch, emit } = openWatch();
  using changes = watch.open("a");
  emit("a");
  emit("a");
  expect(await changes.next(5_000, NEVER)).toBe("changed");
  expect(await changes.next(10, NEVER)).toBe("timeout");
});

test("an aborted signal ends the wait, also one that was aborted before", async () => {
  const { watch } = openWatch();
  using changes = watch.open("a");
  const abort = new AbortController();
  const waiting = changes.next(5_000, abort.signal);
  abort.abort();
  expect(await waiting).toBe("stopped");
  expect(await changes.next(5_000, abort.signal)).toBe("stopped");
});

test("a stop wakes everybody for good, and gives the subscription back", async () => {
  const { watch, listeners } = openWatch();
  using changes = watch.open("a");
  const waiting = changes.next(5_000, NEVER);
  watch.stop();
  expect(await waiting).toBe("stopped");
  expect(await changes.next(5_000, NEVER)).toBe("stopped");
  using late = watch.open("a");
  expect(await late.next(5_000, NEVER)).toBe("stopped");
  expect(listeners.size).toBe(0);
});

test("a watch that is given back is not counted any more", () => {
  const { watch } = openWatch();
  {
    using _one = watch.open("a");
    using _two = watch.open("a");
    expect(watch.size).toBe(2);
  }
  expect(watch.size).toBe(0);
});
