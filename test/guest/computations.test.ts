import { describe, expect, test } from "vitest";
import { bootDemoGuest } from "./demo-machine.ts";

describe.concurrent("a demo computation", () => {
  test("hello, which any ordinary URL means, reads its shares, answers as its VM, hands back a result and powers off", async () => {
    await using machine = await bootDemoGuest({
      url: "computations.example.com:7001",
      environment: ['AGENT_CVM_ID="vm-1"', "AWS_SECRET_ACCESS_KEY=s3cr3t"],
    });
    expect(await machine.agentAnswers()).toBe("agent ok vm-1\n");
    await machine.ended();
    expect(machine.events).toContain("SHUTDOWN guest-shutdown");
    expect(await machine.result()).toEqual({ exitCode: 0, payload: Buffer.from("hello from vm-1: 500500") });
    const text = await machine.consoleText();
    expect(text).toContain("certificates: cert.pem (11 bytes) key.pem (0 bytes)\n");
    expect(text).toContain("environment: AGENT_LOG_LEVEL AGENT_CVM_GRPC_URL AGENT_CVM_ID AWS_SECRET_ACCESS_KEY\n");
    expect(text).toContain("hello from vm-1: the numbers from 1 to 1000 add up to 500500\n");
    expect(text).not.toContain("s3cr3t");
  });

  test("serve answers many clients at once until the power button is pressed", async () => {
    await using machine = await bootDemoGuest({ url: "demo:serve", environment: ["AGENT_CVM_ID=vm-2"] });
    await machine.agentAnswers();
    const answers = await Promise.all(Array.from({ length: 8 }, () => machine.agentAnswers()));
    expect(new Set(answers)).toEqual(new Set(["agent ok vm-2\n"]));
    await machine.pressPowerButton();
    await machine.ended();
    expect(machine.events).toContain("SHUTDOWN guest-shutdown");
    expect(await machine.result()).toBeUndefined();
  });

  test("deaf goes on answering when the power button is pressed", async () => {
    await using machine = await bootDemoGuest({ url: "demo:deaf" });
    await machine.agentAnswers();
    await machine.pressPowerButton();
    await machine.reports("POWERDOWN");
    // A guest that listens to the button is off within a tenth of this.
    for (let second = Date.now() + 1_000; Date.now() < second; ) await machine.agentAnswers();
    expect(machine.events).not.toContain("SHUTDOWN guest-shutdown");
  });

  test("silent boots and never answers, but hears the power button", async () => {
    await using machine = await bootDemoGuest({ url: "demo:silent" });
    await machine.consoleSays(/computation: silent\n/);
    for (let probe = 0; probe < 3; probe += 1) expect(await machine.askAgent()).toBeUndefined();
    await machine.pressPowerButton();
    await machine.ended();
  });

  test("exit:N hands back that exit code and powers off", async () => {
    await using machine = await bootDemoGuest({ url: '"demo:exit:7"' });
    await machine.ended();
    expect(await machine.result()).toEqual({ exitCode: 7, payload: Buffer.from("asked to end with 7") });
  });

  test("halt-in:SECONDS powers off by itself, without a result", async () => {
    await using machine = await bootDemoGuest({ url: "demo:halt-in:1" });
    await machine.ended();
    expect(machine.events).toContain("SHUTDOWN guest-shutdown");
    expect(await machine.result()).toBeUndefined();
  });

  test("panic is reported by QEMU as a panic", async () => {
    await using machine = await bootDemoGuest({ url: "demo:panic" });
    await machine.reports("GUEST_PANICKED");
  });

  test("reboot starts the guest again", async () => {
    await using machine = await bootDemoGuest({ url: "demo:reboot" });
    await machine.consoleSays(/computation: reboot[\s\S]*computation: reboot/);
    expect(machine.events).toContain("RESET guest-reset");
  });

  test("flood writes megabytes to console and result port, and its result still counts", async () => {
    await using machine = await bootDemoGuest({ url: "demo:flood:4:1" });
    await machine.ended();
    expect((await machine.consoleText()).length).toBeGreaterThan(1024 * 1024);
    expect((await machine.resultBytes()).length).toBeGreaterThan(4 * 1024 * 1024);
    expect(await machine.result()).toEqual({ exitCode: 0, payload: Buffer.from("wrote 4 MB") });
  });
});
