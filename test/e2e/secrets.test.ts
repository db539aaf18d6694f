import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { askAgent } from "../helpers/agent.ts";
import { allOfRedis, canariesIn, directoryModes, readAll, SECRET_FIELDS } from "../helpers/canaries.ts";
import { QUICK_CMDLINE } from "../helpers/demo-guest.ts";
import { type Drover, startDrover } from "../helpers/drover.ts";
import { expectAgreement } from "../helpers/leftovers.ts";
import { machineOf } from "../helpers/machine-of.ts";
import { processesNaming } from "../helpers/machine-traces.ts";
import { startRedis } from "../helpers/redis-server.ts";
import { waitFor } from "../helpers/wait-for.ts";

const KEY = `k1:${Buffer.alloc(32, 7).toString("base64")}`;
const OTHER_KEY = `k1:${Buffer.alloc(32, 8).toString("base64")}`;

describe("secrets of a request", () => {
  let redisDir = "";
  let host: Drover;

  beforeAll(async () => {
    redisDir = mkdtempSync(join(tmpdir(), "drv-aof-"));
    const redis = await startRedis({ local: true, dir: redisDir, args: ["--appendonly", "yes"] });
    host = await startDrover({
      redis,
      env: {
        DROVER_SECRETS_KEY: KEY,
        MANAGER_LOG_LEVEL: "debug",
        // The kernel prints its command line, and with it the KBS parameters, and little else.
        MANAGER_QEMU_KERNEL_CMDLINE: QUICK_CMDLINE.replace("quiet", "loglevel=6"),
      },
    });
  });
  afterAll(async () => {
    await host[Symbol.asyncDispose]();
    await host.redis.stop();
    rmSync(redisDir, { recursive: true, force: true });
  });

  test("reach the guest, and stand nowhere else: not while the VM runs and not after it", async () => {
    const vmId = await host.submit({ agentCvmServerUrl: "demo:serve", probe: { type: "tcp" }, ...SECRET_FIELDS });
    const ready = await host.until(vmId, "ready");
    expect(await askAgent(ready.address)).toBe(`agent ok ${vmId}`);
    const vmDir = join(host.stateDir, "vms", vmId, "1");
    const live = () => host.call(`/v1/vms/${vmId}/console`).then((response) => response.text());
    await waitFor(async () => (await live()).includes("AWS_SECRET_ACCESS_KEY"), {
      what: "the guest's words on the console",
    });
    expect(await live(), "the kernel printed its command line").toContain("agent.aa_kbc_params=[secret]");

    const files = readAll(vmDir).filter(({ text }) => canariesIn(text).length > 0);
    expect(files.map(({ path, text }) => [path.slice(vmDir.length + 1), canariesIn(text)])).toEqual(
      expect.arrayContaining([
        ["env/environment", ["agentCertsToken", "awsAccessKeyId", "awsSecretAccessKey"]],
        ["certs/key.pem", ["agentCvmClientKey"]],
      ]),
    );
    expect(files.filter(({ path }) => !/\/(env|certs)\/[^/]+$|\/console\.log$/.test(path))).toEqual([]);
    expect(readAll(vmDir).filter(({ mode }) => mode !== 0o600)).toEqual([]);
    expect(directoryModes(join(host.stateDir, "vms")).filter(({ mode }) => mode !== 0o700)).toEqual([]);

    const { pid } = machineOf(vmId);
    const argv = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    expect(canariesIn(argv.join("\n")), "the one documented exception").toEqual(["aaKbsParams"]);
    expect(argv.filter((word) => canariesIn(word).length > 0)).toEqual([argv[argv.indexOf("-append") + 1]]);
    expect(canariesIn(readFileSync(`/proc/${pid}/environ`, "utf8"))).toEqual([]);
    expect(canariesIn(readFileSync("/proc/self/environ", "utf8") + readFileSync("/proc/self/cmdline", "utf8"))).toEqual(
      [],
    );
    const others = processesNaming(host.stateDir).filter((line) => !line.startsWith(`${pid} `));
    expect(canariesIn(others.join("\n"))).toEqual([]);
    await expectSecretsNowhere(vmId, vmDir);

    await host.remove(vmId);
    const removed = await host.until(vmId, "removed");
    expect(removed.tail?.console).toContain("agent.aa_kbc_params=[secret]");
    expect(removed.command).toContain("agent.aa_kbc_params=***");
    await expectSecretsNowhere(vmId);
    expect(await host.client.exists(host.keys.box(vmId)), "the sealed box went with the VM").toBe(0);
    await expectAgreement(host);
  });

  test("stand in no error either", async () => {
    const bodies = [
      JSON.stringify({ ...SECRET_FIELDS, agentCertsToken: `${SECRET_FIELDS.agentCertsToken}\n` }),
      JSON.stringify({ ...SECRET_FIELDS, aaKbsParams: `${SECRET_FIELDS.aaKbsParams} init=/bin/sh` }),
      JSON.stringify({ ...SECRET_FIELDS, agentCvmClientKey: `not pem ${SECRET_FIELDS.agentCvmClientKey}` }),
      JSON.stringify({ ...SECRET_FIELDS, awsAccessKeyID: "mistyped", ttl: SECRET_FIELDS.agentCertsToken.slice(0, 4) }),
      `{"agentCertsToken": "${SECRET_FIELDS.agentCertsToken}", broken`,
    ];
    for (const body of bodies) {
      const response = await host.call("/v1/vms", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      });
      expect(response.status).toBe(400);
      expect(canariesIn(await response.text())).toEqual([]);
    }
    const key = { "idempotency-key": "same" };
    const vmId = await host.submit({ bootTimeout: "1ms", attempts: 1, ...SECRET_FIELDS }, key);
    const conflict = await host.call("/v1/vms", {
      method: "POST",
      headers: { "content-type": "application/json", ...key },
      body: JSON.stringify({ ...SECRET_FIELDS, awsAccessKeyId: "another" }),
    });
    expect(conflict.status).toBe(409);
    expect(canariesIn(await conflict.text())).toEqual([]);
    await host.until(vmId, "failed");
    await expectSecretsNowhere(vmId);
    expect(await host.client.exists(host.keys.box(vmId)), "kept sealed for a retry by hand").toBe(1);
  });

  async function expectSecretsNowhere(vmId: string, except = "/nowhere"): Promise<void> {
    expect(canariesIn(await allOfRedis(host.client)), "in Redis").toEqual([]);
    for (const file of readAll(redisDir)) expect(canariesIn(file.text), file.path).toEqual([]);
    expect(canariesIn(host.logs()), "in a log line").toEqual([]);
    expect(canariesIn(JSON.stringify(await host.events(vmId))), "in an event").toEqual([]);
    for (const path of pagesOf(vmId)) {
      const response = await host.call(path);
      expect(response.ok, path).toBe(true);
      expect(canariesIn(await response.text()), path).toEqual([]);
    }
    const files = readAll(host.stateDir).filter(({ path }) => !path.startsWith(except));
    for (const file of files) expect(canariesIn(file.text), file.path).toEqual([]);
  }

  function pagesOf(vmId: string): string[] {
    const board = ["active", "completed", "failed", "delayed", "prioritized", "waiting"].map(
      (status) => `/board/api/queues?activeQueue=vm.default&status=${status}&page=1&jobsPerPage=10`,
    );
    const job = `/board/api/queues/vm.default/${vmId}`;
    const api = [
      "/v1/vms",
      `/v1/vms/${vmId}`,
      `/v1/vms/${vmId}/console`,
      "/health",
      "/ready",
      "/openapi.json",
      "/docs",
    ];
    return [...api, "/board", ...board, job, `${job}/logs`];
  }
});

describe("secrets that cannot be opened", () => {
  test("end the VM before anything is launched", async () => {
    await using host = await startDrover({ rom: "idle", worker: false, env: { DROVER_SECRETS_KEY: KEY } });
    await host.runWorker({ DROVER_SECRETS_KEY: OTHER_KEY });
    const vmId = await host.submit({ awsSecretAccessKey: SECRET_FIELDS.awsSecretAccessKey });
    const vm = await host.until(vmId, "failed");
    expect(vm).toMatchObject({
      cause: { code: "secret_unreadable", fault: "host" },
      attempts: { made: 1 },
      runningAt: null,
    });
    expect(canariesIn(JSON.stringify(vm) + host.logs())).toEqual([]);
    await expectAgreement(host);
  });

  test("because two boxes were exchanged in Redis end both VMs", async () => {
    await using host = await startDrover({ rom: "idle", worker: false, env: { DROVER_SECRETS_KEY: KEY } });
    const vmIds = [await host.submit(SECRET_FIELDS), await host.submit(SECRET_FIELDS)];
    const boxes = vmIds.map((vmId) => host.keys.box(vmId));
    const [one, two] = await host.client.mget(boxes);
    await host.client.mset(boxes[0] ?? "", two ?? "", boxes[1] ?? "", one ?? "");
    await host.runWorker();
    for (const vmId of vmIds) {
      const vm = await host.until(vmId, "failed");
      expect(vm).toMatchObject({ cause: { code: "secret_unreadable" }, runningAt: null });
      expect(vm.cause?.message).toContain("tampered with, or belong to another VM");
    }
    await expectAgreement(host);
  });

  test("are not accepted in the first place by an API without a key", async () => {
    await using host = await startDrover({ rom: "idle", worker: false });
    const response = await host.call("/v1/vms", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(SECRET_FIELDS),
    });
    expect(await response.json()).toMatchObject({ code: "secrets_key_missing" });
    expect(await host.client.exists(host.keys.allVms)).toBe(0);
  });
});
