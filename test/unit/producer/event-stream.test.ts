import { expect, test, vi } from "vitest";
import type { CloudEvent } from "../../../src/contract/vm-event.ts";
import { streamEvents } from "../../../src/producer/event-stream.ts";
import { compareStreamIds, type StoredEvent } from "../../../src/queue/event-log.ts";

const OWNER = "local";

function stored(n: number, over: Partial<CloudEvent> = {}): StoredEvent {
  const event: CloudEvent = {
    specversion: "1.0",
    id: `vm/${n}`,
    source: "/drover/vms",
    type: "vm.queued",
    subject: "vm",
    time: new Date(n).toISOString(),
    datacontenttype: "application/json",
    sequence: String(n),
    owner: OWNER,
    data: {},
    ...over,
  };
  return { id: `${n}-0`, event };
}

/** One reader over a log and a feed that the test writes to. */
function openStream(
  options: {
    after?: string;
    kept?: StoredEvent[];
    types?: string[];
    heartbeatMs?: number;
    backlogMaxEvents?: number;
    onRead?: () => void;
  } = {},
) {
  const log = [...(options.kept ?? [])];
  const listeners = new Set<(batch: readonly StoredEvent[]) => void>();
  const over = new AbortController();
  let written = "";
  let hold: Promise<void> = Promise.resolve();
  const end = streamEvents({
    log: {
      read: async ({ after, count }) => {
        options.onRead?.();
        return log.filter(({ id }) => compareStreamIds(id, after) > 0).slice(0, count);
      },
    },
    feed: {
      subscribe: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    answer: {
      over: over.signal,
      write: async (piece) => {
        await hold;
        written += piece;
      },
    },
    filter: { owner: OWNER, types: options.types, vmIds: undefined },
    start: { after: options.after ?? "0-0", gap: undefined },
    heartbeatMs: options.heartbeatMs ?? 60_000,
    backlogMaxEvents: options.backlogMaxEvents ?? 1_000,
  });
  return {
    end,
    listeners,
    emit(...batch: StoredEvent[]) {
      log.push(...batch);
      for (const listener of listeners) listener(batch);
    },
    stop: () => over.abort(),
    text: () => written,
    ids: () => [...written.matchAll(/^id: (\S+)\nevent:/gm)].map((match) => match[1]),
    block() {
      let release: () => void = () => undefined;
      hold = new Promise((resolve) => {
        release = resolve;
      });
      return release;
    },
  };
}

test("what is kept comes first, then what happens, each once and in order", async () => {
  const kept = Array.from({ length: 450 }, (_, i) => stored(i + 1));
  const stream = openStream({ kept });
  await vi.waitFor(() => expect(stream.ids()).toHaveLength(450));
  stream.emit(stored(451), stored(452));
  stream.emit(stored(453));
  await vi.waitFor(() => expect(stream.ids()).toHaveLength(453));
  expect(stream.ids()).toEqual(Array.from({ length: 453 }, (_, i) => `${i + 1}-0`));
  stream.stop();
  expect(await stream.end).toBe("over");
  expect(stream.listeners.size).toBe(0);
});

test("events that come while the past is read are neither lost nor repeated", async () => {
  let n = 3;
  const stream = openStream({
    kept: [stored(1), stored(2), stored(3)],
    onRead: () => n < 8 && stream.emit(stored(++n)),
  });
  await vi.waitFor(() => expect(stream.ids()).toHaveLength(8));
  expect(stream.ids()).toEqual(["1-0", "2-0", "3-0", "4-0", "5-0", "6-0", "7-0", "8-0"]);
  stream.stop();
  await stream.end;
});

test("a long past is no reason to cut a reader, however much happens meanwhile", async () => {
  const kept = Array.from({ length: 300 }, (_, i) => stored(i + 1));
  let n = 300;
  const stream = openStream({
    kept,
    backlogMaxEvents: 5,
    onRead: () => n < 340 && stream.emit(...Array.from({ length: 10 }, () => stored(++n))),
  });
  await vi.waitFor(() => expect(stream.ids()).toHaveLength(340));
  stream.stop();
  expect(await stream.end).toBe("over");
});

test("a reader that the feed outruns is told to come back, and has had a run without holes", async () => {
  const stream = openStream({ backlogMaxEvents: 5 });
  await vi.waitFor(() => expect(stream.text()).toContain("retry:"));
  const release = stream.block();
  for (let n = 1; n <= 20; n++) stream.emit(stored(n));
  release();
  expect(await stream.end).toBe("slow");
  const ids = stream.ids();
  expect(ids).toEqual(Array.from({ length: ids.length }, (_, i) => `${i + 1}-0`));
});

test("only the owner's events and the asked types pass", async () => {
  const stream = openStream({ types: ["vm.failed"] });
  await vi.waitFor(() => expect(stream.text()).toContain("retry:"));
  stream.emit(
    stored(1),
    stored(2, { type: "vm.failed" }),
    stored(3, { type: "vm.failed", owner: "bob" }),
    stored(4, { type: "vm.failed" }),
  );
  await vi.waitFor(() => expect(stream.ids()).toEqual(["2-0", "4-0"]));
  expect(stream.text()).not.toContain("bob");
  stream.stop();
  await stream.end;
});

test("silence is broken by heartbeats that carry the place in the stream, also for what the filter holds back", async () => {
  const stream = openStream({ types: ["vm.failed"], heartbeatMs: 20 });
  await vi.waitFor(() => expect(stream.text()).toContain(": heartbeat\nid: 0-0\n\n"));
  stream.emit(stored(7), stored(8));
  await vi.waitFor(() => expect(stream.text()).toContain(": heartbeat\nid: 8-0\n\n"));
  expect(stream.ids()).toEqual([]);
  stream.emit(stored(9, { type: "vm.failed" }));
  await vi.waitFor(() => expect(stream.ids()).toEqual(["9-0"]));
  stream.stop();
  await stream.end;
});

test("the subscription is given back when writing fails", async () => {
  const listeners = new Set<unknown>();
  const stream = streamEvents({
    log: { read: async () => [] },
    feed: { subscribe: (listener) => listeners.add(listener) && (() => void listeners.delete(listener)) },
    answer: { over: new AbortController().signal, write: () => Promise.reject(new Error("gone")) },
    filter: { owner: OWNER, types: undefined, vmIds: undefined },
    start: { after: "0-0", gap: undefined },
    heartbeatMs: 1_000,
    backlogMaxEvents: 10,
  });
  await expect(stream).rejects.toThrow("gone");
  expect(listeners.size).toBe(0);
});
