import { expect, test } from "vitest";
import { BatchStore } from "../../src/queue/batch-store.ts";
import { startDrover } from "../helpers/drover.ts";
import { expectAgreement } from "../helpers/leftovers.ts";
import { waitFor } from "../helpers/wait-for.ts";

test("a batch runs to its end on a worker alone, never more VMs at once than it may, after its API has gone", async () => {
  await using drover = await startDrover({ rom: "poweroff" });
  const lines = [{ batch: { name: "nightly", maxParallel: 2, defaults: { labels: { kind: "test" } } } }];
  const items = Array.from({ length: 7 }, (_none, index) => ({ name: `n${index}` }));
  const response = await drover.call("/v1/batches", {
    method: "POST",
    headers: { "content-type": "application/x-ndjson" },
    body: [...lines, ...items].map((line) => `${JSON.stringify(line)}\n`).join(""),
  });
  expect(response.status).toBe(202);
  const { id } = (await response.json()) as { id: string };
  await drover.api.close();
  const batches = new BatchStore({ redis: drover.client, keys: drover.keys });
  let most = 0;
  const ended = await waitFor(
    async () => {
      const batch = await batches.get(id);
      most = Math.max(most, batch?.live ?? 0);
      return batch?.state === "ended" ? batch : undefined;
    },
    { timeoutMs: 30_000, what: "the batch to end" },
  );
  expect(ended).toMatchObject({ outcome: "completed", total: 7, counts: { completed: 7 } });
  expect(most).toBe(2);
  const { items: rows } = await batches.items(id, { limit: 10 });
  expect(rows.map(({ name, state, host }) => [name, state, host === undefined])).toEqual(
    items.map(({ name }) => [name, "completed", false]),
  );
  await expectAgreement(drover);
});
