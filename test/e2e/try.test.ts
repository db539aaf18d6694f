import { expect, test } from "vitest";
import { sharedDrover } from "../helpers/shared-drover.ts";

const host = sharedDrover({ rom: "obedient" });

test("a", async () => {
  const t0 = performance.now();
  const a = await host().submit();
  await host().until(a, "running");
  console.log(performance.now() - t0);
  await host().remove(a);
  console.log((await host().until(a, "removed")).endReason, performance.now() - t0);
});
test("b", async () => {
  await host().chooseGuest("poweroff");
  const a = await host().submit();
  const vm = await host().until(a, "completed");
  console.log(vm, await host().events(a));
});
