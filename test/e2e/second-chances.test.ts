import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { vmPaths } from "../../src/qemu/vm-paths.ts";
import { startDrover } from "../helpers/drover.ts";
import { expectAgreement } from "../helpers/leftovers.ts";
import { sharedDrover } from "../helpers/shared-drover.ts";
import { waitFor } from "../helpers/wait-for.ts";

const KEY = `k1:${Buffer.alloc(32, 7).toString("base64")}`;

describe("a retry by hand", () => {
  const host = sharedDrover({ rom: "panic", env: { DROVER_SECRETS_KEY: KEY } });

  test("runs a failed VM again, with all its attempts, its secrets and the next epoch", async () => {
    await host().chooseGuest("panic");
    const vmId = await host().submit({ attempts: 2, agentCertsToken: "token-of-the-guest" });
    await host().until(vmId, "failed");
    await host().chooseGuest("obedient");
    const retried = await host().retry(vmId);
    expect(retried.status).toBe(202);
    expect(await retried.json()).toMatchObject({ state: "queued", attempts: { made: 0, max: 2 }, cause: null });
    const vm = await host().until(vmId, "running");
    expect(vm).toMatchObject({ epoch: 3, attempts: { made: 0 } });
    expect(vm.launches.map(({ epoch }) => epoch)).toEqual([1, 2]);
    const { environment } = vmPaths({ stateDir: host().stateDir, vmId, epoch: 3 });
    expect(readFileSync(environment, "utf8")).toContain("AGENT_CERTS_TOKEN=token-of-the-guest\n");
    expect((await host().events(vmId)).find(({ data }) => data["reason"] === "retried_by_hand")).toBeDefined();
  });

  test("is one retry, however often it is asked for at once", async () => {
    await host().chooseGuest("panic");
    const vmId = await host().submit({ attempts: 1 });
    await host().until(vmId, "failed");
    await expectAgreement(host()); // the job is settled a moment after the record
    await host().chooseGuest("idle");
    const answers = await Promise.all(Array.from({ length: 10 }, () => host().retry(vmId)));
    expect(answers.map(({ status }) => status).sort()).toEqual([202, ...Array.from({ length: 9 }, () => 409)]);
    expect((await host().until(vmId, "running")).epoch).toBe(2);
  });

  test("is refused for a VM that has not failed", async () => {
    await host().chooseGuest("poweroff");
    const vmId = await host().submit();
    await host().until(vmId, "completed");
    const refused = await host().retry(vmId);
    expect(refused.status).toBe(409);
    expect(await refused.json()).toMatchObject({ code: "not_retryable" });
  });
});

test("a retry by hand is refused once the secrets of the VM are deleted", async () => {
  const env = { DROVER_SECRETS_KEY: KEY, DROVER_KEEP_FAILED_SECRETS: "300ms" };
  await using host = await startDrover({ rom: "panic", env });
  const vmId = await host.submit({ attempts: 1, agentCertsToken: "token-of-the-guest" });
  await host.until(vmId, "failed");
  await waitFor(async () => (await host.client.exists(host.keys.box(vmId))) === 0, { what: "the box to go" });
  await expectAgreement(host);
  const refused = await host.retry(vmId);
  expect(await refused.json()).toMatchObject({ code: "secrets_gone", status: refused.status });
  expect((await host.get(vmId)).state).toBe("failed");
});

test("what was kept long enough is deleted whole: its id is gone and not unknown, and its key makes no second VM", async () => {
  const env = { DROVER_KEEP_COMPLETED: "500ms", DROVER_KEEP_FAILED: "500ms" };
  await using host = await startDrover({ rom: "poweroff", env });
  const key = { "idempotency-key": "once" };
  const completed = await host.submit({}, key);
  await host.untilEvent(completed, "vm.completed");
  await host.chooseGuest("panic");
  const failed = await host.submit({ attempts: 1 });
  await host.untilEvent(failed, "vm.failed");
  for (const vmId of [completed, failed]) {
    await waitFor(async () => (await host.call(`/v1/vms/${vmId}`)).status === 410, { what: "410 for the VM" });
    for (const [method, path] of [
      ["GET", ""],
      ["DELETE", ""],
      ["POST", "/retry"],
      ["GET", "/console"],
    ]) {
      const response = await host.call(`/v1/vms/${vmId}${path}`, { method: method ?? "GET" });
      expect(response.status).toBe(410);
      expect(await response.json()).toMatchObject({ code: "vm_gone" });
    }
    const left = await host.client.keys(`*${vmId}*`);
    expect(left).toEqual([host.keys.mark(vmId)]);
  }
  await expectAgreement(host);
  const again = await host.call("/v1/vms", {
    method: "POST",
    headers: { "content-type": "application/json", ...key },
    body: "{}",
  });
  expect(again.status).toBe(410);
});
