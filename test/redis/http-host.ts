import { randomUUID } from "node:crypto";
import { pino } from "pino";
import { openRedis } from "../../src/queue/connection.ts";
import { type ClaimedJob, JobClaims } from "../../src/queue/job-claims.ts";
import type { LaunchIdentity } from "../../src/queue/launch-moves.ts";
import { LaunchStore } from "../../src/queue/launch-store.ts";
import { LiveConsole } from "../../src/queue/live-console.ts";
import type { HttpWorld } from "./http-world.ts";

const HOST = "host-a";

interface Launched {
  readonly job: ClaimedJob;
  readonly launch: LaunchIdentity;
  readonly port: number;
}

export interface TestHost extends AsyncDisposable {
  /** Fetches the next VM and prepares it. */
  take(): Promise<Launched>;
  run(launched: Launched): Promise<void>;
  print(launched: Launched, text: string, skippedBytes?: number): Promise<void>;
  complete(launched: Launched, console?: string): Promise<void>;
  /** The launch failed: for good, or the VM waits for its next launch. */
  fail(launched: Launched, options?: { again?: boolean; console?: string; message?: string }): Promise<void>;
}

/** What a worker writes to Redis in the life of a VM, by its own scripts, without a VM. */
export function openTestHost({ redis, keys, deps }: HttpWorld, hostId = HOST): TestHost {
  const logger = pino({ level: "silent" });
  const connection = openRedis({ url: deps.config.redis.url, role: "worker", name: "test-host", logger });
  const claims = new JobClaims({ redis: connection, keys, hostId, logger });
  const keep = deps.config.keep;
  const launches = new LaunchStore({
    redis,
    keys,
    bootId: `boot-of-${hostId}`,
    range: { first: 6100, last: 6200, reserved: [] },
    eventsMax: deps.config.eventsMax,
    keep,
  });
  const consoles = new LiveConsole({ redis, keys });
  const leave = (port: number, console: string, final: boolean) =>
    ({
      port,
      box: final ? "delete" : "keep",
      tail: { console, qemu: "qemu says" },
      final,
      keepMs: keep.failedMs,
    }) as const;
  return {
    async take() {
      const job = await claims.fetch("default", `${hostId}:state:boot:${randomUUID()}`);
      if (job === undefined) throw new Error("nothing to fetch");
      const launch: LaunchIdentity = {
        vmId: job.vmId,
        pool: job.pool,
        priority: "normal",
        host: hostId,
        epoch: job.epoch,
        token: job.token,
      };
      const prepared = await launches.prepare(launch, {});
      if (prepared.kind !== "prepared") throw new Error(`not prepared: ${prepared.kind}`);
      return { job, launch, port: prepared.port };
    },
    async run({ launch, port }) {
      const at = { host: hostId, epoch: launch.epoch, port };
      await launches.move(launch, {
        to: "starting",
        event: { type: "vm.starting", data: { ...at, pid: 1 } },
        progress: { port },
      });
      const address = "192.0.2.7";
      const fields = { address, runningAtMs: String(Date.now()), command: "qemu-system-x86_64 -machine q35" };
      await launches.move(launch, {
        to: "running",
        event: { type: "vm.running", data: { ...at, address, bootMs: 40 } },
        fields,
        progress: { port, address },
      });
    },
    async print({ launch }, text, skippedBytes = 0) {
      await consoles.append({
        vmId: launch.vmId,
        token: launch.token,
        data: Buffer.from(text, "latin1"),
        skippedBytes,
      });
    },
    async complete({ job, launch, port }, console = "") {
      const data = { host: hostId, epoch: launch.epoch, reason: "guest_shutdown", exitCode: 0 };
      await launches.move(launch, {
        to: "completed",
        event: { type: "vm.completed", data },
        progress: {},
        leave: leave(port, console, true),
      });
      await claims.complete(job, { outcome: "completed", reason: "guest_shutdown", exitCode: 0, host: hostId });
    },
    async fail({ job, launch, port }, { again = false, console = "", message = "Kernel panic" } = {}) {
      const cause = { code: "guest_panic", message } as const;
      const data = { cause, attempt: 1, host: hostId, epoch: launch.epoch };
      const fields = { cause: JSON.stringify(cause), attemptsMade: "1" };
      const story = `guest_panic: ${message}\nhost ${hostId}, launch ${launch.epoch}\ncommand: qemu-system-x86_64\nlast lines of the console:\n${console}`;
      if (again) {
        await launches.move(launch, {
          to: "retrying",
          event: { type: "vm.retrying", data: { ...data, attempts: 3, delayMs: 1 } },
          fields,
          progress: { cause },
          leave: leave(port, console, false),
        });
        await claims.fail(job, { message, story, delayMs: 1 });
        return;
      }
      await launches.move(launch, {
        to: "failed",
        event: { type: "vm.failed", data: { ...data, exitCode: null } },
        fields,
        progress: { cause },
        leave: { ...leave(port, console, true), box: 60_000 },
      });
      await claims.failForGood(job, { message, story });
    },
    async [Symbol.asyncDispose]() {
      await claims.close();
      connection.disconnect();
    },
  };
}
