import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { VmStore } from "../../src/queue/vm-store.ts";
import { machinesOf } from "../helpers/machine-traces.ts";
import { acceptInput } from "../helpers/queue-world.ts";
import { sharedDrover } from "../helpers/shared-drover.ts";

const host = sharedDrover({ rom: "obedient" });

test("thirty copies of a request at once, under one idempotency key, are one VM that runs once", async () => {
  const post = (body: object) =>
    host().call("/v1/vms", {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": "thirty" },
      body: JSON.stringify(body),
    });
  const answers = await Promise.all(Array.from({ length: 30 }, () => post({ name: "one" })));
  const bodies = (await Promise.all(answers.map((answer) => answer.json()))) as { id: string; replayed: boolean }[];
  expect(answers.map(({ status }) => status).sort()).toEqual([...Array.from({ length: 29 }, () => 200), 202]);
  expect(bodies.filter(({ replayed }) => !replayed)).toHaveLength(1);
  const vmIds = new Set(bodies.map(({ id }) => id));
  expect(vmIds.size).toBe(1);
  const [vmId = ""] = vmIds;
  expect((await host().until(vmId, "running")).epoch).toBe(1);
  expect(machinesOf(vmIds)).toHaveLength(1);
  expect(await host().client.zcard(host().keys.allVms)).toBe(1);
  const other = await post({ name: "another" });
  expect(other.status).toBe(409);
  expect(await other.json()).toMatchObject({ code: "idempotency_conflict" });
});

test("a VM that was accepted by an API which then died runs all the same", async () => {
  const { client, keys, config } = host();
  const store = new VmStore({ redis: client, keys, eventsMax: config.eventsMax, keep: config.keep });
  const vmId = randomUUID();
  await store.accept(acceptInput({ name: "orphan" }, { vmId }));
  expect(await client.exists(keys.bull("vm.default", vmId)), "there is no job for it").toBe(0);
  expect(await host().until(vmId, "running")).toMatchObject({ spec: { name: "orphan" }, epoch: 1 });
});
