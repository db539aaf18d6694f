import { test } from "vitest";
import { nextPorts, startDrover } from "../helpers/drover.ts";
import { listenOn } from "../helpers/listener.ts";
test("dbg", async () => {
    const env = { MANAGER_MAX_VMS: "0", DROVER_PORT_ASIDE: "4s", MANAGER_LOG_LEVEL: "warn" };
    await using host = await startDrover({ rom: "obedient", ports: nextPorts(2), env });
    const { first, last } = host.ports;
    const foreign = [await listenOn(first), await listenOn(last)];
    const vmId = await host.submit();
    await host.untilEvent(vmId, "vm.queued", 2);
    for (const listener of foreign) await listener[Symbol.asyncDispose]();
    const vm = await host.until(vmId, "running");
    console.log(vm.epoch, await host.client.hgetall(host.keys.bull("vm.default", vmId)), (await host.events(vmId)).map((e) => [e.type, e.time]));
    console.log(host.logs());
});
