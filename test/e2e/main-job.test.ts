import { expect, test } from "vitest";
import { startDrover } from "../helpers/drover.ts";
import { expectAgreement } from "../helpers/leftovers.ts";

test("a request becomes a running VM and ends well, with every step an event and nothing left behind", async () => {
  await using drover = await startDrover();
  const vmId = await drover.submit({ agentCvmServerUrl: "demo:hello", probe: { type: "tcp" }, result: true });
  const ready = await drover.until(vmId, "ready");
  expect(ready.address).toMatchObject({ host: "127.0.0.1" });
  const done = await drover.until(vmId, "completed");
  expect(done.result).toMatchObject({ exitCode: 0, text: `hello from ${vmId}: 500500` });
  expect(done.tail?.console).toContain("AGENT_CVM_ID");
  expect((await drover.events(vmId)).map(({ type }) => type)).toEqual([
    "vm.queued",
    "vm.preparing",
    "vm.starting",
    "vm.running",
    "vm.ready",
    "vm.completed",
  ]);
  await expectAgreement(drover);
});
