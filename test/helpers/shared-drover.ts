import { afterAll, afterEach, beforeAll } from "vitest";
import { isFinal } from "../../src/contract/vm-state.ts";
import { VmList } from "../../src/contract/vm-view.ts";
import { type Drover, type DroverOptions, startDrover } from "./drover.ts";
import { expectAgreement } from "./leftovers.ts";

/**
 * One world for all tests of a file (or `describe`). After each test the VMs that it left alive are removed by force
 * and everything is compared: Redis, processes, ports, files. So a test that leaks fails, and not the one after it.
 */
export function sharedDrover(
  options: DroverOptions | (() => DroverOptions | Promise<DroverOptions>) = {},
): () => Drover {
  let drover: Drover | undefined;
  const current = (): Drover => {
    if (drover === undefined) throw new Error("the world is not there yet");
    return drover;
  };
  beforeAll(async () => {
    drover = await startDrover(typeof options === "function" ? await options() : options);
  });
  afterEach(async () => {
    await removeAll(current());
    await expectAgreement(current());
  });
  afterAll(async () => {
    await drover?.[Symbol.asyncDispose]();
  });
  return current;
}

/** Removes by force whatever has not ended, and waits for the ends. */
export async function removeAll(drover: Drover): Promise<void> {
  const { items } = VmList.parse(await (await drover.call("/v1/vms?limit=500")).json());
  const alive = items.filter(({ state }) => !isFinal(state));
  await Promise.all(alive.map(({ id }) => drover.remove(id, "?force")));
  for (const { id } of alive) await drover.until(id, ["removed", "expired", "completed", "failed"]);
}
