import { expect, test } from "vitest";
import { VmDetail } from "../../src/contract/vm-view.ts";
import { vmIdOfItem } from "../../src/runtime/batch-id.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { openHttpWorld } from "./http-world.ts";

test("a VM whose item is still in the list is there for who asks, and goes for good when it is removed", async () => {
  await using world = await openHttpWorld({
    env: { DROVER_BATCH_WINDOW: "1" },
    identify: async ({ headers }) => ({ owner: String(headers["x-owner"] ?? "a"), role: "submitter", via: "token" }),
  });
  const call = (method: "GET" | "DELETE" | "POST", url: string, owner = "a") =>
    world.app.inject({ method, url, headers: { "x-owner": owner } });
  const answer = await world.app.inject({
    method: "POST",
    url: "/v1/batches",
    headers: { "content-type": "application/x-ndjson" },
    payload: `{"batch":{"defaults":{"labels":{"kind":"b"}}}}\n{"name":"n0"}\n{"name":"n1"}\n{"name":"n2"}\n`,
  });
  expect(answer.statusCode).toBe(202);
  const { id } = answer.json() as { id: string };
  const counts = async () => (await world.deps.batches.get(id))?.counts;
  await waitFor(async () => (await counts())?.queued === 1, { what: "the first item to be fed" });
  const path = `/v1/vms/${vmIdOfItem(id, 1)}`;
  const listed = VmDetail.parse((await call("GET", path)).json());
  expect(listed).toMatchObject({ state: "queued", batch: id, epoch: 0, spec: { name: "n1", labels: { kind: "b" } } });
  expect((await call("GET", path, "b")).statusCode).toBe(404);
  expect((await call("DELETE", path, "b")).statusCode).toBe(404);
  expect((await call("GET", `${path}/console`)).statusCode).toBeLessThan(500);
  expect((await call("POST", `${path}/retry`)).statusCode).toBe(409);
  expect((await call("DELETE", path)).json()).toMatchObject({ state: "removed" });
  expect((await call("DELETE", path)).json()).toMatchObject({ state: "removed" });
  expect(await counts()).toMatchObject({ listed: 1, queued: 1, removed: 1 });
  // The place of the first one is taken by the third.
  await call("DELETE", `/v1/vms/${vmIdOfItem(id, 0)}`);
  await waitFor(async () => (await counts())?.queued === 1, { what: "the third item to be fed" });
  expect(await counts()).toMatchObject({ listed: 0, queued: 1, removed: 2 });
  expect((await call("GET", `/v1/vms/${vmIdOfItem(id, 3)}`)).statusCode).toBe(404);
});
