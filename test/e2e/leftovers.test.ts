import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { expect, test } from "vitest";
import { bootId } from "../../src/runtime/process-identity.ts";
import { leftovers } from "../helpers/leftovers.ts";
import { listenOn } from "../helpers/listener.ts";
import { sharedDrover } from "../helpers/shared-drover.ts";

const host = sharedDrover({ rom: "obedient" });

/** The comparison that ends every test here must itself be able to fail: each kind of leftover is planted once. */
test("the comparison sees a file, a port, a listener, a process, a key, a job and an event too many", async () => {
  const { client, keys, stateDir, ports } = host();
  const vmId = await host().submit();
  await host().until(vmId, "running");
  expect(await leftovers(host())).toEqual([]);

  const dir = join(stateDir, "vms", "forgotten");
  mkdirSync(dir);
  writeFileSync(join(dir, "key.pem"), "");
  expect(await leftovers(host())).toEqual(
    expect.arrayContaining([expect.stringContaining("file vms/forgotten/key.pem")]),
  );
  rmSync(dir, { recursive: true });

  await client.hset(keys.ports(bootId()), `p:${ports.last}`, "somebody|1|token");
  expect(await leftovers(host())).toEqual([expect.stringContaining(`port ${ports.last} is held`)]);
  await client.hdel(keys.ports(bootId()), `p:${ports.last}`);

  const listener = await listenOn(ports.last);
  expect(await leftovers(host())).toEqual([expect.stringContaining(`listens on port ${ports.last}`)]);
  await listener[Symbol.asyncDispose]();

  const stray = execa("sh", ["-c", "read -r _", "sh", "-uuid", vmId], { reject: false, stdin: "pipe" });
  expect(await leftovers(host())).toEqual([expect.stringContaining("has 2 processes")]);
  stray.kill();
  await stray;

  await client.set(keys.box("11111111-1111-4111-8111-111111111111"), "sealed");
  expect(await leftovers(host())).toEqual([expect.stringContaining("belongs to no VM")]);
  await client.del(keys.box("11111111-1111-4111-8111-111111111111"));

  const active = keys.bull("vm.default", "active");
  await client.lrem(active, 1, vmId);
  expect(await leftovers(host())).toEqual([expect.stringContaining("is gone, not active")]);
  await client.lpush(active, vmId);

  await client.hincrby(keys.record(vmId), "seq", 1);
  expect(await leftovers(host())).toEqual([expect.stringContaining("are numbered")]);
  await client.hincrby(keys.record(vmId), "seq", -1);
  expect(await leftovers(host())).toEqual([]);
});
