import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { expect, test } from "vitest";
import { startApi } from "../../src/producer/start-api.ts";
import { loadConfig } from "../../src/runtime/config/load-config.ts";
import { askAgent } from "../helpers/agent.ts";
import { freePort } from "../helpers/redis-server.ts";
import { sharedDrover } from "../helpers/shared-drover.ts";
import { waitFor } from "../helpers/wait-for.ts";

const host = sharedDrover();

/** Another machine's API, as far as files go: a state directory of its own, and only Redis in common. */
async function startOtherApi() {
  const stateDir = mkdtempSync(join(tmpdir(), "drv-api-"));
  const env = {
    ...host().env,
    DROVER_STATE_DIR: stateDir,
    HOME: stateDir,
    MANAGER_HTTP_PORT: String(await freePort()),
  };
  const api = await startApi({ config: loadConfig(env).config, logger: pino({ level: "silent" }) });
  return {
    url: api.url,
    stateDir,
    async [Symbol.asyncDispose]() {
      await api.close();
      rmSync(stateDir, { recursive: true, force: true });
    },
  };
}

test("an API that shares nothing but Redis with the worker shows a running VM's console, its tail and what follows", async () => {
  await using other = await startOtherApi();
  const vmId = await host().submit({ agentCvmServerUrl: "demo:hello", result: true });
  const running = await host().until(vmId, "running");
  const followed = fetch(`${other.url}/v1/vms/${vmId}/console?follow`).then((response) => response.text());
  const live = await waitFor(
    async () => {
      const response = await fetch(`${other.url}/v1/vms/${vmId}/console`);
      expect(response.headers.get("content-type")).toContain("text/plain");
      const text = await response.text();
      return text.includes("computation: hello") ? text : undefined;
    },
    { timeoutMs: 60_000, what: "the console of the running VM" },
  );
  expect((await host().get(vmId)).state, "it was read while the VM ran").toBe("running");
  expect(await askAgent(running.address)).toBe(`agent ok ${vmId}`);
  const done = await host().until(vmId, "completed");
  const whole = await followed; // the stream ends with the VM
  expect(whole).toContain(live.trimEnd());
  expect(whole).toContain("drover-guest: powering off");
  expect(whole.replaceAll("\r\n", "\n").trimEnd(), "every byte once").toBe(done.tail?.console.trimEnd());
  const late = await (await fetch(`${other.url}/v1/vms/${vmId}/console`)).text();
  expect(late.trimEnd(), "it stays readable").toBe(done.tail?.console.trimEnd());
  const few = await (await fetch(`${other.url}/v1/vms/${vmId}/console?bytes=64`)).text();
  expect(Buffer.byteLength(few)).toBeLessThanOrEqual(64);
  expect(readdirSync(other.stateDir), "the API keeps no files").toEqual([]);
});
