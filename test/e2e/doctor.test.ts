import { expect, test } from "vitest";
import type { Check } from "../../src/worker/doctor/check.ts";
import { startDrover } from "../helpers/drover.ts";
import { runCli } from "../unit/cli/run-cli.ts";

test("beside a live worker with a running VM doctor finds agreement, and disturbs nobody", async () => {
  await using drover = await startDrover({ rom: "idle" });
  const vmId = await drover.submit();
  await drover.until(vmId, "running");
  const { out } = await runCli(["doctor", "--json"], { env: drover.env });
  const { checks } = JSON.parse(out) as { checks: readonly Check[] };
  const ofVms = checks.filter(({ area }) => area === "vms");
  expect(ofVms.map(({ id, status, text }) => [id, status, text])).toEqual([
    ["vms_agree", "ok", "1 VM, and all agree"],
    ["worker", "ok", expect.stringMatching(/^worker of host .* is alive$/)],
  ]);
  expect(checks.find(({ id }) => id === "ports")).toMatchObject({ status: "ok" }); // the VM's own is no stranger's
  expect(checks.find(({ id }) => id === "boot_files")).toMatchObject({ status: "ok" });
  expect((await drover.get(vmId)).state).toBe("running");
});
