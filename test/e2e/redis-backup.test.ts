import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { expect, test } from "vitest";
import { startDrover } from "../helpers/drover.ts";
import { machineOf } from "../helpers/machine-of.ts";
import { freePort, startRedis } from "../helpers/redis-server.ts";
import { waitFor } from "../helpers/wait-for.ts";

/** The commands of docs/operate.md, in their order: a step that is changed there has to be tried here. */
const STEPS = /^\$ (.*?)(?: {2,}#.*)?$/gm;

function documented(heading: string): readonly string[] {
  const page = readFileSync("docs/operate.md", "utf8");
  const section = page.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? "";
  return [...section.matchAll(STEPS)].map(([, command = ""]) => command);
}

test("a backup of Redis is restored while VMs run: what runs goes on, what waited waits", async () => {
  expect(documented("Back up and restore Redis")).toEqual([
    'redis-cli -u "$REDIS_URL" --rdb drover.rdb',
    "cp drover.rdb DIR/dump.rdb",
    "redis-server --dir DIR --appendonly no",
    "redis-cli config set appendonly yes",
    "redis-cli info persistence",
    "redis-cli shutdown",
    "redis-server --dir DIR --appendonly yes",
  ]);
  const folder = mkdtempSync(join(tmpdir(), "drv-backup-"));
  const [before, restored] = [mkdtempSync(join(folder, "a-")), mkdtempSync(join(folder, "b-"))];
  const port = await freePort();
  const cli = async (...words: string[]) => (await execa("redis-cli", ["-p", String(port), ...words])).stdout;
  let redis = await startRedis({ local: true, port, dir: before, args: ["--appendonly", "yes"] });
  try {
    await using world = await startDrover({ rom: "idle", redis, env: { MANAGER_MAX_VMS: "2" } });
    const running = await world.submit();
    await world.until(running, "running");
    const second = await world.submit();
    await world.until(second, "running");
    const waiting = await world.submit();
    const machine = machineOf(running);
    const backup = join(folder, "drover.rdb");
    await execa("redis-cli", ["-u", `redis://127.0.0.1:${port}`, "--rdb", backup]);
    const lost = await world.submit();
    await world.remove(second, "?force=true");
    await world.until(second, "removed");
    await world.until(waiting, "running"); // after the backup: restored, it waits, and its host says better

    await redis.stop();
    copyFileSync(backup, join(restored, "dump.rdb"));
    redis = await startRedis({ local: true, port, dir: restored, args: ["--appendonly", "no"] });
    await cli("config", "set", "appendonly", "yes");
    await waitFor(async () => /aof_enabled:1[\s\S]*aof_rewrite_in_progress:0/.test(await cli("info", "persistence")), {
      what: "the append-only file",
    });
    await execa("redis-cli", ["-p", String(port), "shutdown"], { reject: false });
    await redis.stop();
    redis = await startRedis({ local: true, port, dir: restored, args: ["--appendonly", "yes"] });

    await world.until(waiting, "running");
    await world.untilEvent(waiting, "vm.reasserted");
    expect(machineOf(running), "it was never touched").toEqual(machine);
    expect(await world.get(running)).toMatchObject({ state: "running", epoch: 1 });
    expect((await world.call(`/v1/vms/${lost}`)).status, "accepted after the backup, and not started").toBe(404);
    const again = await world.submit();
    for (const vmId of [running, waiting, again]) await world.remove(vmId, "?force=true");
    for (const vmId of [running, waiting, again]) await world.until(vmId, "removed");
  } finally {
    await redis.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});
