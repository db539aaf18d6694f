import { describe, expect, test } from "vitest";
import { bootDemoGuest } from "./demo-machine.ts";

describe.concurrent("the demo guest", () => {
  test("boots as Cocos boots its guest: UEFI firmware, bzImage and compressed initrd", async () => {
    await using machine = await bootDemoGuest({ boot: "uefi", environment: ["AGENT_CVM_ID=vm-3"] });
    expect(await machine.agentAnswers()).toBe("agent ok vm-3\n");
    await machine.ended();
    expect((await machine.result())?.exitCode).toBe(0);
  });

  test("boots from its own disk, where the kernel line of the host has no say", async () => {
    await using machine = await bootDemoGuest({ boot: "disk", url: "demo:exit:5" });
    await machine.ended();
    expect(await machine.consoleText()).toMatch(/disk: sda \(\d+ MiB\)\n/);
    expect((await machine.result())?.exitCode).toBe(5);
  });

  test("reads values as systemd reads an EnvironmentFile", async () => {
    await using machine = await bootDemoGuest({
      url: "demo:serve",
      environment: ["# AGENT_CVM_ID=comment", String.raw`AGENT_CVM_ID="a \"b\" \\ \$c \x 'd' #e é="`],
    });
    expect(await machine.agentAnswers()).toBe(`${String.raw`agent ok a "b" \ $c \x 'd' #e é=`}\n`);
  });

  test("writes to the serial port under the kernel line of Cocos, on which a wish for a computation wins", async () => {
    await using machine = await bootDemoGuest({ url: "demo:serve", cmdline: "quiet console=null drover.demo=exit:9" });
    await machine.ended();
    expect(await machine.consoleText()).toContain("drover-guest: computation: exit\n");
    expect((await machine.result())?.exitCode).toBe(9);
  });

  test("needs neither network nor shares nor a result port, and names the computations there are", async () => {
    await using machine = await bootDemoGuest({ bare: true, result: "none", cmdline: "quiet drover.demo=sing" });
    await machine.ended();
    const text = await machine.consoleText();
    expect(text).toContain("share env_share is not there\n");
    expect(text).toContain("no network\n");
    expect(text).toContain("no such computation; there are hello, serve, exit:N");
    expect(text).toContain("exit code 64\n");
  });

  test("does not wait for ever for a host that does not take the result", async () => {
    await using machine = await bootDemoGuest({ url: "demo:exit:1", result: "nobody" });
    await machine.ended();
    expect(await machine.consoleText()).toContain("nobody took the result\n");
  });
});
