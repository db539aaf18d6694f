import { expect, inject, test } from "vitest";
import { startRedisProxy } from "../helpers/redis-proxy.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { describeInBrowser, openBrowser, visit } from "./browser.ts";
import { openSimulatedFleet } from "./simulated-fleet.ts";

describeInBrowser("the fleet page without a server", () => {
  test("the page says that it is old while Redis or the API is away", async () => {
    await using proxy = await startRedisProxy(inject("redisUrl"));
    await using fleet = await openSimulatedFleet({ DROVER_REDIS_URL: proxy.url });
    await using browser = { page: await openBrowser(), [Symbol.asyncDispose]: () => browser.page.close() };
    await using visitor = await visit(browser.page, fleet.world.url);
    const { page } = visitor;
    await page.goto("/");
    await page.getByText("host-b").waitFor();
    const open = proxy.blackhole();
    const banner = page.getByText("Not up to date.");
    await banner.waitFor({ timeout: 20_000 });
    expect(await page.getByText("host-b").count(), "what was known is shown still").toBeGreaterThan(0);
    open();
    await banner.waitFor({ state: "hidden", timeout: 20_000 });
    await waitFor(() => fleet.submit({ name: "after" }), { what: "Redis to be there again" });
    await page.getByText("after").first().waitFor();
    await fleet.world.app.close();
    await page.getByText("the server does not answer").waitFor({ timeout: 20_000 });
  });
});
