import { expect, test } from "vitest";
import { startDrover } from "../helpers/drover.ts";
import { startRedisProxy } from "../helpers/redis-proxy.ts";
import { removeAll } from "../helpers/shared-drover.ts";
import { waitFor } from "../helpers/wait-for.ts";

/** The loop looks each second whether there is room; it must have done so more than once. */
const LOOKS_MS = 2_500;

test("a worker that cannot renew its lease fetches nothing: somebody else may have its id by now", async () => {
  const env = { DROVER_LEASE: "1500ms", DROVER_LEASE_RENEW: "300ms", DROVER_STOP_POWERDOWN_TIMEOUT: "200ms" };
  await using host = await startDrover({ rom: "idle", worker: false, env });
  await using proxy = await startRedisProxy(host.redis.url);
  const worker = await host.runWorker({ DROVER_REDIS_URL: proxy.url });
  await using _stopped = { [Symbol.asyncDispose]: async () => void (await worker.stop("stop")) }; // while it has a way to Redis
  const before = await host.submit();
  await host.until(before, "running");
  proxy.hold(/-lease$/); // all its other connections work
  const lease = host.keys.lease(worker.hostId);
  await waitFor(async () => (await host.client.exists(lease)) === 0, { what: "the lease to lapse" });
  const vmId = await host.submit();
  const submittedMs = performance.now();
  await waitFor(() => performance.now() - submittedMs > LOOKS_MS, { what: "some turns of its loop" });
  expect(await host.get(vmId)).toMatchObject({ state: "queued", epoch: 0 });
  expect((await host.get(before)).state, "what runs is not touched").toBe("running");
  await removeAll(host);
});
