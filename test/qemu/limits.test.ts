import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Limiter } from "../../src/qemu/limiter.ts";
import { findByUuid } from "../../src/qemu/process-scan.ts";
import { openVmWorld, STOP_BOUNDS } from "./support/vm-world.ts";

/** As systemd-run --scope does it: says what it was asked for, and becomes the program. */
const SYSTEMD_RUN = `#!/bin/sh
printf '%s\\n' "$@" >"$(dirname "$0")/asked"
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
`;

test("a QEMU in a scope of systemd keeps its pid, is asked its limits, and is ended as any other", async () => {
  await using world = await openVmWorld();
  const systemdRun = join(world.stateDir, "systemd-run");
  writeFileSync(systemdRun, SYSTEMD_RUN);
  chmodSync(systemdRun, 0o755);
  const limits = { memoryBytes: 3 * 1024 ** 3, cpuPercent: 500, tasks: 320 };
  const limiter = new Limiter({ kind: "systemd", systemdRun }, limits, world.stateDir);
  const qemu = await world.start(await world.args(), { limiter });
  expect(findByUuid(world.vmId)).toMatchObject([{ pid: qemu.pid, startTimeTicks: qemu.startTimeTicks }]);
  const asked = readFileSync(join(world.stateDir, "asked"), "utf8").split("\n");
  expect(asked.slice(0, asked.indexOf("--"))).toEqual([
    "--scope",
    "--quiet",
    "--collect",
    expect.stringMatching(`^--unit=drover-[0-9a-f]{8}-${world.vmId}-1-[0-9a-f]{6}$`),
    "--slice=drover.slice",
    "--property=MemoryMax=3221225472",
    "--property=CPUQuota=500%",
    "--property=TasksMax=320",
    "--property=OOMPolicy=continue",
  ]);
  expect((await qemu.stop({ bounds: { ...STOP_BOUNDS, powerdownMs: 0 } })).rung).toBe("quit");
});

test("a QEMU that cannot be limited is not left running without limits", async () => {
  await using world = await openVmWorld();
  const limits = { memoryBytes: 1, cpuPercent: 1, tasks: 1 };
  const limiter = new Limiter({ kind: "cgroup", base: "/nothing-is-here" }, limits, world.stateDir);
  await expect(world.start(await world.args(), { limiter })).rejects.toMatchObject({
    failure: { code: "resources_exhausted" },
  });
  expect(findByUuid(world.vmId)).toEqual([]);
});
