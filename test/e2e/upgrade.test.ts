import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import { findByUuid } from "../../src/qemu/process-scan.ts";
import { Scope } from "../../src/runtime/scope.ts";
import { nextPorts, removeStateDir, startDrover } from "../helpers/drover.ts";
import { buildEarlierVersion, type EarlierVersion } from "../helpers/earlier-version.ts";
import { machineOf } from "../helpers/machine-of.ts";
import { freePort } from "../helpers/redis-server.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWorkerProcess } from "../helpers/worker-process.ts";

let earlier: EarlierVersion | undefined;
let missing = "";

beforeAll(async () => {
  const built = await buildEarlierVersion();
  if ("missing" in built) missing = built.missing;
  else earlier = built;
});
afterAll(() => earlier?.[Symbol.dispose]());

/** `drover api` or `drover worker` of the earlier version, until it is stopped. */
function startEarlier(command: string, words: readonly string[], env: Record<string, string>) {
  const child = execa(command, [...words], {
    env: { PATH: process.env["PATH"] ?? "", ...env, MANAGER_LOG_LEVEL: "info" },
    extendEnv: false,
    reject: false,
    all: true,
    forceKillAfterDelay: false,
  });
  let output = "";
  child.all.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  const says = (text: string) =>
    waitFor(() => output.includes(text), { timeoutMs: 30_000, what: `"${text}" in ${words[0]}'s log` }).catch(
      (cause) => {
        throw new Error(output, { cause });
      },
    );
  const stop = async () => {
    child.kill("SIGTERM");
    expect((await child).exitCode, output).toBe(0);
  };
  return { says, stop };
}

test("a fleet of the version before is upgraded host by host, its API last, and no VM notices", async ({ skip }) => {
  if (earlier === undefined) return skip(missing);
  const { command } = earlier;
  await using scope = new Scope();
  // The new API is there from the start, as somebody's second look at the same Redis; people use the old one.
  await using fleet = await startDrover({ rom: "idle", worker: false });
  const port = await freePort();
  const api = startEarlier(command, ["api"], { ...fleet.env, MANAGER_HTTP_PORT: String(port) });
  await api.says("the HTTP API listens");
  scope.own(api, (running) => running.stop());
  const old = `http://127.0.0.1:${port}`;
  interface Answer {
    readonly id: string;
    readonly items: readonly { readonly id: string }[];
  }
  const viaOld = async (path: string, init?: RequestInit) =>
    (await (await fetch(`${old}${path}`, init)).json()) as Answer;
  const submitToOld = async (): Promise<string> => {
    const headers = { "content-type": "application/json" };
    return (await viaOld("/v1/vms", { method: "POST", headers, body: JSON.stringify({ labels: { of: "old" } }) })).id;
  };

  const hosts = ["one", "two"].map((id) => {
    const stateDir = scope.own(mkdtempSync(join(tmpdir(), "drv-")), removeStateDir);
    const { first, last } = nextPorts();
    const range = `${first}-${last}`;
    const env = { ...fleet.env, DROVER_STATE_DIR: stateDir, MANAGER_INSTANCE_ID: id, MANAGER_MAX_VMS: "2" };
    return { id, env: { ...env, MANAGER_QEMU_HOST_FWD_RANGE: range } };
  });
  const oldWorkers = await Promise.all(
    hosts.map(async ({ env }) => {
      const worker = startEarlier(command, ["worker"], env);
      await worker.says("worker started");
      return worker;
    }),
  );
  const vms = [await submitToOld(), await submitToOld(), await submitToOld()];
  for (const vmId of vms) await fleet.until(vmId, "running");
  const machines = new Map(vms.map((vmId) => [vmId, machineOf(vmId)]));

  for (const [at, { env, id }] of hosts.entries()) {
    await oldWorkers[at]?.stop();
    scope.own(await startWorkerProcess(env), (worker) => worker.kill());
    const host = await viaOld(`/v1/hosts/${id}`);
    expect(host, "what the old API makes of a new host").toMatchObject({ id, status: "live", slots: 2 });
    const late = await submitToOld(); // the last place of the fleet: it waits for a new worker, or has an old one
    vms.push(late);
    if (at === 0) await fleet.until(late, "running");
  }
  for (const [vmId, machine] of machines) {
    expect(machineOf(vmId), "its process is the same").toEqual(machine);
    expect(await viaOld(`/v1/vms/${vmId}`)).toMatchObject({ state: "running", epoch: 1, hostStatus: "live" });
    expect((await fleet.events(vmId)).map(({ type }) => type)).toContain("vm.adopted");
  }
  const listed = await viaOld("/v1/vms");
  expect(listed.items.map(({ id }) => id).sort()).toEqual([...vms].sort());

  // Every place is taken: the last one waits, and gets the place of a VM that is removed through the old API.
  const waiting = vms.at(-1) ?? "";
  expect((await fleet.get(waiting)).state).toBe("queued");
  const first = vms[0] ?? "";
  await fetch(`${old}/v1/vms/${first}?force=true`, { method: "DELETE" });
  await fleet.until(first, "removed");
  await fleet.until(waiting, "running");
  for (const vmId of vms) await fleet.remove(vmId, "?force=true");
  for (const vmId of vms) await fleet.until(vmId, "removed");
  expect(vms.flatMap((vmId) => findByUuid(vmId))).toEqual([]);
});
