import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { findLaunchesOf } from "../../src/qemu/process-scan.ts";
import { loadConfig } from "../../src/runtime/config/load-config.ts";
import { examine, withPatient } from "../../src/worker/doctor/examine.ts";
import { openQueueWorld } from "../helpers/queue-world.ts";
import { SHIPPED_ENVIRONMENT } from "../helpers/shipped-environment.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWorkerProcess } from "../helpers/worker-process.ts";

/** Where its file names must not exist, as on any machine that is no Cocos host. */
const MISSING = /\/usr\/share\/edk2\/x64\/OVMF_(?:CODE|VARS)\.fd|\/etc\/cocos\//;

test("drover worker runs with the shipped cocos-manager.env as it is, and takes no harm where its files are missing", async () => {
  await using world = openQueueWorld();
  const stateDir = await mkdtemp(join(tmpdir(), "dc-"));
  onTestFinished(() => rm(stateDir, { recursive: true, force: true }));
  const place = { DROVER_STATE_DIR: stateDir, DROVER_REDIS_URL: world.url, DROVER_REDIS_PREFIX: world.keys.prefix };
  const env = { ...SHIPPED_ENVIRONMENT, ...place };

  await using worker = await startWorkerProcess(env);
  const vmId = await world.submit();
  const ended = await waitFor(async () => {
    const record = await world.store.get(vmId);
    return record?.state === "failed" ? record : undefined;
  });
  expect(ended.cause).toMatchObject({ code: "firmware_missing", message: expect.stringMatching(MISSING) });
  expect(await worker.terminate()).toBe(0);
  expect(worker.output()).toContain("MANAGER_QEMU_ENABLE_SEV_SNP");
  expect(findLaunchesOf(stateDir)).toEqual([]);
  expect(await readdir(join(stateDir, "vms"))).toEqual([]);

  const { config } = loadConfig(env);
  const checks = await withPatient({ config, logger: pino({ level: "silent" }) }, examine);
  const missing = checks.filter(({ id, status }) => id === "boot_files" && status === "problem");
  expect(missing.map(({ todo }) => todo)).toEqual(
    ["DISK_IMG_KERNEL_FILE", "DISK_IMG_ROOTFS_FILE", "OVMF_CODE_FILE", "OVMF_VARS_FILE"].map(
      (name) => `It is set by MANAGER_QEMU_${name}.`,
    ),
  );
});
