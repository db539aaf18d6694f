import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { boxKeyId } from "../../src/runtime/sealing.ts";
import { type Drover, startDrover } from "../helpers/drover.ts";
import { expectAgreement } from "../helpers/leftovers.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { runCli } from "../unit/cli/run-cli.ts";

const SECRET = { agentCertsToken: "a token", awsSecretAccessKey: "a secret" };

test("the key is changed while VMs with secrets are submitted and launched, and none of them misses its secrets", async () => {
  const dir = mkdtempSync(join(tmpdir(), "drv-keys-"));
  const [apiKeys, workerKeys] = [join(dir, "api.key"), join(dir, "worker.key")];
  const key = async (words: readonly string[], { env = {}, stdin = "" } = {}) => {
    const ran = await runCli(["key", ...words], { env: { HOME: dir, ...env }, stdin });
    expect(ran.exitCode, ran.err).toBe(0);
    return ran.out;
  };
  try {
    const old = await key(["new", "--id", "old"]);
    for (const file of [apiKeys, workerKeys]) {
      await key(["new", "--id", "gone-soon", "--file", file]);
      await key(["add", "--file", file], { stdin: old });
      await key(["use", "old", "--file", file]);
      await key(["rm", "gone-soon", "--force", "--file", file]);
    }
    await using host = await startDrover({
      rom: "poweroff",
      worker: false,
      env: { DROVER_SECRETS_KEY_FILE: apiKeys, MANAGER_LOG_LEVEL: "info" },
    });
    await host.runWorker({ DROVER_SECRETS_KEY_FILE: workerKeys });
    const load = submitSteadily(host);
    await waitFor(() => load.vmIds.length > 3, { what: "VMs before the change" });

    const fresh = await key(["new", "--id", "fresh"]);
    for (const file of [workerKeys, apiKeys]) await key(["add", "--file", file], { stdin: fresh }); // 1: all can open
    for (const file of [apiKeys, workerKeys]) await key(["use", "fresh", "--file", file]); // 2: all seal with it
    const waiting = await host.submit({ ...SECRET, pool: "nobody-fetches-here" });
    await waitFor(async () => boxKeyId(await boxOf(host, await parked(host))) === "fresh", {
      what: "the API to seal with the new key",
    });
    await key(["reseal", "--file", apiKeys], { env: host.env }); // 3: no box needs the old one
    expect(boxKeyId(await boxOf(host, waiting))).toBe("fresh");
    for (const file of [workerKeys, apiKeys]) await key(["rm", "old", "--file", file], { env: host.env }); // 4
    const before = load.vmIds.length;
    await waitFor(() => load.vmIds.length > before + 3, { what: "VMs after the change" });
    await load.stop();

    for (const vmId of load.vmIds) expect((await host.until(vmId, "completed")).attempts.made).toBe(0);
    expect(readFileSync(apiKeys, "utf8")).toBe(fresh);
    for (const line of [old, fresh]) expect(host.logs()).not.toContain(line.trim().split(":")[1]);
    for (const { id } of await listed(host, "nobody-fetches-here")) await host.remove(id);
    await expectAgreement(host);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

/** One VM after the other, each with secrets, until stopped. */
function submitSteadily(host: Drover) {
  const vmIds: string[] = [];
  let stopped = false;
  const loop = (async () => {
    while (!stopped) {
      const vmId = await host.submit(SECRET);
      vmIds.push(vmId);
      await host.until(vmId, ["completed", "starting", "running", "preparing", "stopping"]);
    }
  })();
  return {
    vmIds,
    async stop() {
      stopped = true;
      await loop;
    },
  };
}

/** A VM that waits, because no worker serves its pool. */
async function parked(host: Drover): Promise<string> {
  return host.submit({ ...SECRET, pool: "nobody-fetches-here" });
}

async function boxOf(host: Drover, vmId: string): Promise<string> {
  return (await host.client.get(host.keys.box(vmId))) ?? "";
}

async function listed(host: Drover, pool: string): Promise<readonly { id: string }[]> {
  const answer = (await (await host.call(`/v1/vms?pool=${pool}&limit=500`)).json()) as { items: { id: string }[] };
  return answer.items;
}
