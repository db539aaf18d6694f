import { expect, test } from "vitest";
import { startDrover } from "../helpers/drover.ts";
import { expectAgreement } from "../helpers/leftovers.ts";

/** The aim is 12; the bound leaves room for what a busy machine adds (a wait that is begun twice). */
const ROUND_TRIPS_MAX = 16;

/** What goes on whether there is a VM or not: leases, waits for work and for events. */
const BACKGROUND = /^(xread|ping|info|client|hello|select|multi|exec|sadd|script)\b|:lease:|:host:|vm-remove\./i;

test("one life of a VM, from its request to its end, costs Redis few round trips", async () => {
  // What comes by time alone is put off, so that it does not fall into the count.
  const env = { DROVER_SWEEP_INTERVAL: "1h", DROVER_RECONCILE_INTERVAL: "1h" };
  await using host = await startDrover({ rom: "poweroff", env });
  const warmUp = await host.submit(); // scripts are loaded, connections made
  await host.untilEvent(warmUp, "vm.completed");
  await expectAgreement(host);

  const own = ((await host.client.call("CLIENT", "INFO")) as string).match(/ addr=(\S+)/)?.[1];
  const monitor = await host.client.monitor();
  const commands: string[] = [];
  monitor.on("monitor", (_time: string, args: string[], source: string) => {
    const line = args.map((arg) => (arg.length > 60 ? `${arg.slice(0, 60)}…` : arg)).join(" ");
    if (source !== own && source !== "lua" && !BACKGROUND.test(line)) commands.push(line);
  });
  try {
    const vmId = await host.submit();
    await host.untilEvent(vmId, "vm.completed");
    await expectAgreement(host);
  } finally {
    monitor.disconnect();
  }
  process.stdout.write(`Redis round trips of one VM's life: ${commands.length}\n`);
  expect(commands.length, commands.join("\n")).toBeLessThanOrEqual(ROUND_TRIPS_MAX);
  expect(commands.length, "they were counted").toBeGreaterThan(5);
});
