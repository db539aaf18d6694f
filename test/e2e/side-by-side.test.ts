import { expect, test } from "vitest";
import { askAgent } from "../helpers/agent.ts";
import { expectAgreement } from "../helpers/leftovers.ts";
import { sharedDrover } from "../helpers/shared-drover.ts";

const host = sharedDrover();

test("two VMs live side by side, each at its own address, and one goes without the other noticing", async () => {
  const [first, second] = await Promise.all([
    host().submit({ agentCvmServerUrl: "demo:serve", probe: { type: "tcp" } }),
    host().submit({ agentCvmServerUrl: "demo:serve", probe: { type: "tcp" } }),
  ]);
  const [one, other] = [await host().until(first, "ready"), await host().until(second, "ready")];
  expect(one.address?.port).not.toBe(other.address?.port);
  expect(await askAgent(one.address)).toBe(`agent ok ${first}`);
  expect(await askAgent(other.address)).toBe(`agent ok ${second}`);
  await expectAgreement(host());

  expect((await host().remove(first)).status).toBe(202);
  expect(await host().until(first, "removed")).toMatchObject({ address: null, endReason: "requested" });
  await expectAgreement(host());
  expect(await askAgent(other.address)).toBe(`agent ok ${second}`);

  await host().remove(second);
  await host().until(second, "removed");
  await expectAgreement(host());
});
