import { expect, test } from "vitest";
import { acceptInput, openQueueWorld } from "../helpers/queue-world.ts";

test("pages and filters reach every VM, also where many were accepted in one millisecond", async () => {
  await using world = openQueueWorld();
  const inputs = Array.from({ length: 900 }, (_, i) => acceptInput({ labels: { kind: i < 5 ? "rare" : "common" } }));
  await Promise.all(inputs.map((input) => world.store.accept(input)));
  const seen = new Set<string>();
  let cursor: string | null | undefined;
  do {
    const page = await world.store.list({ limit: 250, ...(cursor ? { cursor } : {}) });
    for (const { vmId } of page.records) seen.add(vmId);
    cursor = page.next;
  } while (cursor !== null);
  expect(seen.size).toBe(900);
  expect((await world.store.list({ limit: 500 })).records).toHaveLength(500);
  expect((await world.store.list({ limit: 50, labels: ["kind=rare"] })).records).toHaveLength(5);
});

test("a time limit ends a VM by the clock of Redis only", async () => {
  await using world = openQueueWorld();
  const vmId = await world.submit({}, { queueTimeoutMs: 3_600_000 });
  expect((await world.store.requestRemoval({ vmId, reason: "queue_timeout", by: "fast clock" })).kind).toBe("not_due");
  expect((await world.store.get(vmId))?.state).toBe("queued");
});
