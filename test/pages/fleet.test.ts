import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { waitFor } from "../helpers/wait-for.ts";
import { expectAccessible, expectNoSidewaysScrolling } from "./accessible.ts";
import { describeInBrowser, openBrowser, picture, visit } from "./browser.ts";
import { openSimulatedFleet, type SimulatedFleet } from "./simulated-fleet.ts";

const EVIL = '<img src=x onerror="document.title=1"><script>document.title=2</script>';
const BOOT = "[    0.000000] Linux version 6.12.43\r\n[    0.412911] \u001b[32mnet: 10.0.2.15\u001b[0m\r\nready\r\n";
const PHONE = { width: 360, height: 740 };

describeInBrowser("the fleet page", () => {
  let browser: Browser;
  let fleet: SimulatedFleet;
  /** What the views are looked at with. */
  const shown = { running: "", failed: "", batch: "" };

  beforeAll(async () => {
    browser = await openBrowser();
    fleet = await openSimulatedFleet();
    const { host, otherHost, submit, submitBatch } = fleet;
    shown.failed = await submit({ name: EVIL, labels: { evil: EVIL.slice(0, 60) }, attempts: 1 });
    await host.fail(await host.take(), { message: `panic ${EVIL}`, console: `says ${EVIL}` });
    for (const [name, at] of [
      ["registry", otherHost],
      ["web-1", host],
      ["web-2", otherHost],
    ] as const) {
      shown.running = await submit({ name, labels: { team: "blue" }, ttl: "2h" });
      const launched = await at.take();
      await at.run(launched);
      await at.print(launched, BOOT);
    }
    await submit({ name: "large-model", pool: "large" });
    await submit({ name: "proof", tee: "tdx" });
    shown.batch = await submitBatch("nightly", 20);
    const takeNext = () => waitFor(() => host.take(), { what: "the batch to be fed" });
    for (let i = 0; i < 16; i++) {
      const launched = await takeNext();
      if (i !== 11) await host.run(launched);
      if (i === 4 || i === 9) await host.fail(launched);
      else if (i < 11) await host.complete(launched);
    }
    const drain = `/v1/hosts/host-b/drain?${new URLSearchParams({ timeout: "2h", note: "new disks at noon" })}`;
    expect((await fleet.world.app.inject({ method: "POST", url: drain })).statusCode).toBe(200);
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    await fleet?.[Symbol.asyncDispose]();
  });

  const views = () => [
    { name: "fleet", path: "/", sign: "web-2" },
    { name: "vms", path: "/vms", sign: "web-2" },
    { name: "vm", path: `/vms/${shown.running}`, sign: "10.0.2.15" },
    { name: "failed", path: `/vms/${shown.failed}`, sign: "What to do:" },
    { name: "batches", path: "/batches", sign: "nightly" },
    { name: "batch", path: `/batches/${shown.batch}`, sign: "nightly-1" },
    { name: "hosts", path: "/hosts", sign: "host-d" },
    { name: "host", path: "/hosts/host-b", sign: "web-2" },
    { name: "failures", path: "/failures", sign: "guest_panic" },
    { name: "submit", path: "/submit", sign: "A batch" },
  ];

  test.each([
    ["light", { viewport: { width: 1100, height: 900 } }],
    ["dark", { viewport: { width: 900, height: 820 }, colorScheme: "dark" }],
    ["phone", { viewport: PHONE, isMobile: true, hasTouch: true, reducedMotion: "reduce" }],
  ] as const)("every view can be read and used, and shows text as text: %s", async (kind, options) => {
    await using visitor = await visit(browser, fleet.world.url, options);
    const { page } = visitor;
    for (const { name, path, sign } of views()) {
      await page.goto(path);
      await page.locator("main").getByText(sign).first().waitFor();
      if (name === "fleet") {
        await fleet.submit({ name: `model-${kind}`, pool: "large" });
        await page.locator(".ticker").getByText("was accepted").waitFor();
      }
      await expectAccessible(page);
      await expectNoSidewaysScrolling(page);
      if (name === "vms") expect(await page.locator("thead").isVisible(), "rows or cards").toBe(kind !== "phone");
      expect(await page.locator("main img, main script").count(), path).toBe(0);
      expect(await page.title()).not.toMatch(/^\d/);
      await picture(page, `${name}-${kind}`);
    }
    expect(visitor.complaints).toEqual([]);
  });

  test("reads each thing about once a second, however much happens, and stays quick", async () => {
    await using visitor = await visit(browser, fleet.world.url);
    const { page } = visitor;
    await page.goto("/");
    await page.getByText("web-2").first().waitFor();
    const asked: string[] = [];
    page.on("request", (request) => void asked.push(new URL(request.url()).pathname + new URL(request.url()).search));
    const beganAt = performance.now();
    for (let round = 0; round < 20; round++)
      await Promise.all(Array.from({ length: 15 }, () => fleet.submit({ name: "burst", pool: "nowhere" })));
    const hold = page.getByRole("button", { name: "Hold still" });
    const clickedAt = performance.now();
    await hold.click();
    await page.locator("button[aria-pressed=true]").waitFor();
    expect(performance.now() - clickedAt, "a click is heeded").toBeLessThan(1_500);
    await page.getByRole("list").filter({ hasText: "was accepted" }).waitFor();
    const seconds = (performance.now() - beganAt) / 1_000;
    for (const path of new Set(asked)) {
      const times = asked.filter((one) => one === path).length;
      expect(times, `${path} in ${seconds.toFixed(1)} s`).toBeLessThanOrEqual(Math.ceil(seconds) + 1);
    }
    expect(await page.locator(".ticker li").count()).toBe(30);
    expect(visitor.complaints).toEqual([]);
  });

  test("retries a VM on its own page, and follows its console again", async () => {
    await using visitor = await visit(browser, fleet.world.url);
    const { page } = visitor;
    const id = await fleet.submit({ name: "twice", priority: "high" });
    const first = await fleet.host.take();
    await page.goto(`/vms/${id}`);
    await fleet.host.print(first, "first life\r\n");
    const text = page.getByRole("region", { name: "Console" });
    await text.getByText("first life").waitFor();
    await fleet.host.fail(first, { console: "first life" });
    await page.getByText("This is all there is.").waitFor();
    await page.getByRole("button", { name: "Retry" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Retry" }).click();
    await page.getByText("It went back to the queue (retried by hand).").waitFor();
    const second = await waitFor(() => fleet.host.take(), { what: "the retried VM" });
    expect(second.job.vmId).toBe(id);
    await fleet.host.run(second);
    await fleet.host.print(second, "second life\r\n");
    await text.getByText("second life").waitFor();
    await fleet.host.complete(second);
    await page.locator(".lead").getByText("completed").waitFor();
    expect(visitor.complaints).toEqual([]);
  });

  test("goes on where a cut stream was, and tells nothing twice", async () => {
    await using visitor = await visit(browser, fleet.world.url);
    const { page } = visitor;
    const overview = await page.context().newPage();
    await overview.goto("/");
    await overview.getByText("web-2").first().waitFor();
    const id = await fleet.submit({ name: "cut", priority: "high" });
    const launched = await fleet.host.take();
    expect(launched.job.vmId).toBe(id);
    const line = overview.locator(".ticker li").filter({ hasText: id.slice(0, 8) });
    await line.filter({ hasText: "was taken" }).waitFor();
    await page.goto(`/vms/${id}`);
    await page.getByText("It was taken by host-a, launch 1.").waitFor();
    fleet.world.app.server.closeAllConnections();
    await fleet.host.run(launched); // nobody is connected
    await fleet.host.complete(launched);
    await page.locator(".lead").getByText("completed").waitFor();
    await page.locator(".timeline").getByText("completed").waitFor();
    await line.filter({ hasText: "completed" }).waitFor();
    const told = await page.locator(".timeline li > span").allTextContents();
    expect(told.map((text) => text.split(" ").slice(0, 3).join(" "))).toEqual([
      "It was accepted.",
      "It was taken",
      "It is starting",
      "It runs at",
      "It completed (guest",
    ]);
    expect(await line.count(), "in the overview as well").toBe(told.length);
  });
});
