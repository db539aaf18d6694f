import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Role } from "../../src/contract/role.ts";
import { TokenStore } from "../../src/queue/token-store.ts";
import { type Drover, startDrover } from "../helpers/drover.ts";
import { expectAccessible } from "./accessible.ts";
import { describeInBrowser, openBrowser, picture, type Visit, visit } from "./browser.ts";

const SECRET = "canary-7d1f-token";

describeInBrowser("an operator at the fleet page, with a worker and real VMs", () => {
  let drover: Drover;
  let browser: Browser;
  let visitor: Visit;
  let page: Page;
  let dir: string;
  const tokens: Partial<Record<Role, string>> = {};

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "drv-pages-"));
    drover = await startDrover({
      rom: "hello",
      env: {
        MANAGER_MAX_VMS: "3",
        MANAGER_INSTANCE_ID: "host-a",
        DROVER_SECRETS_KEY: `k1:${Buffer.alloc(32, 1).toString("base64")}`,
        DROVER_STOP_POWERDOWN_TIMEOUT: "200ms", // this guest does not listen
      },
    });
    const store = new TokenStore({ redis: drover.client, keys: drover.keys });
    for (const [owner, role] of [
      ["ada", "operator"],
      ["eve", "viewer"],
    ] as const)
      tokens[role] = (await store.add({ owner, role, label: "", createdBy: "test", expiresAtMs: undefined })).text;
    browser = await openBrowser();
    visitor = await visit(browser, drover.api.url);
    page = visitor.page;
    await page.goto("/login");
    await logIn(page, tokens.operator);
    await page.getByRole("heading", { name: "Fleet" }).waitFor();
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    await drover?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });

  afterEach(async ({ task }) => {
    if (task.result?.state === "fail") await picture(page, `failed-${task.name.slice(0, 20).replaceAll(" ", "-")}`);
  });

  const heading = (name: string | RegExp) => page.getByRole("heading", { level: 1, name });
  const lead = () => page.locator(".lead");
  const notice = () => page.locator(".notice");

  test("logs in with a token and gets where it wanted to go", async () => {
    await using other = await visit(browser, drover.api.url);
    await other.page.goto("/submit");
    await logIn(other.page, "drover_wrong");
    await other.page.getByText("This token is not known").waitFor();
    await logIn(other.page, tokens.operator);
    await other.page.getByRole("heading", { name: "Submit" }).waitFor();
    await expectAccessible(other.page);
    expect(other.complaints).toEqual([]);
  });

  test("submits a VM, watches it run and reads what it writes", async () => {
    await page.getByRole("link", { name: "Submit" }).click();
    await page.getByLabel("Name").fill("first <b>try</b>");
    await page.getByLabel("Labels", { exact: true }).fill("team=blue, run=7");
    await page.getByLabel("Time limit").fill("soon");
    await page.getByRole("button", { name: "Submit the VM" }).click();
    await page.getByRole("alert").getByText("ttl").waitFor();
    await page.getByLabel("Time limit").fill("30m");
    await page.getByText("What the guest's agent gets").click();
    await page.getByLabel("Token for certificates").fill(SECRET);
    await page.getByRole("button", { name: "Submit the VM" }).click();
    await heading("first <b>try</b>").waitFor();
    await lead().getByText("running").waitFor();
    await page.getByText(/It runs at .* after \d+ ms\./).waitFor();
    await page.getByRole("region", { name: "Console" }).getByText("hello from the guest").waitFor();
    await page.getByRole("link", { name: "team=blue" }).waitFor();
    expect(await page.content(), "no page shows a secret").not.toContain(SECRET);
    await expectAccessible(page);
    await page.reload();
    await lead().getByText("running").waitFor();
    await page.getByText("It was accepted.").waitFor();
  });

  test("removes it, after a question", async () => {
    await page.getByRole("button", { name: "Remove" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Back" }).click();
    await page.getByRole("dialog").waitFor({ state: "hidden" });
    await page.getByRole("button", { name: "Remove" }).click();
    await expectAccessible(page);
    await page.getByLabel("By force").check();
    await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
    await notice().getByText("under way").waitFor();
    await lead().getByText("removed").waitFor();
    await page.getByText("It was removed.").waitFor();
  });

  test("sees a failure with its cause, and retries it with the keyboard alone", async () => {
    await drover.chooseGuest("panic");
    await page.goto("/submit");
    await page.getByLabel("Name").fill("doomed");
    await page.getByLabel("Attempts").fill("1");
    await page.getByLabel("Attempts").press("Enter");
    await lead().getByText("failed").waitFor();
    await page.getByText("guest_panic").first().waitFor();
    await page.getByText("What to do:").first().waitFor();
    await expectAccessible(page);

    await press(page, /^Failures$/);
    await heading("Failures").waitFor();
    await page.getByRole("row", { name: /guest_panic/ }).waitFor();
    await drover.chooseGuest("hello");
    await press(page, /^Retry 1 VM that failed with guest_panic/);
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "hidden" });
    await press(page, /^Retry 1 VM that failed with guest_panic/);
    await press(page, /^Retry$/);
    await notice().getByText("1 VM in the queue again").waitFor();
    await page.getByText("Nothing has failed.").waitFor();
    await press(page, /^Fleet$/);
    await page.getByRole("row", { name: /doomed.*running/ }).waitFor();
    await expectAccessible(page);
  });

  test("drains the host and lets it take VMs again", async () => {
    await page.getByRole("link", { name: "host-a" }).first().click();
    await heading("Host host-a").waitFor();
    await page.getByRole("button", { name: "Drain" }).click();
    await page.getByLabel("Note for others").fill("new disks");
    await page.getByRole("dialog").getByRole("button", { name: "Drain" }).click();
    await notice().getByText("host-a is draining").waitFor();
    await lead().getByText("draining").waitFor();
    await page.getByText("new disks").waitFor();
    await expectAccessible(page);
    await page.getByRole("button", { name: "Resume" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Resume" }).click();
    await lead().getByText("draining").waitFor({ state: "hidden" });
  });

  test("sends a batch by file, is told of its bad lines, and cancels it", async () => {
    const file = join(dir, "batch.ndjson");
    const lines = [
      { batch: { name: "nightly", maxParallel: 2 } },
      ...Array.from({ length: 8 }, (_, i) => ({ name: `n${i}` })),
    ];
    const text = lines.map((line) => JSON.stringify(line)).join("\n");
    await page.goto("/submit");
    const form = page.locator("form").filter({ hasText: "A file of requests" });
    writeFileSync(file, `${text}\n{"name": 7}\n`);
    await form.getByLabel("A file of requests").setInputFiles(file);
    await form.getByRole("button", { name: "Submit the batch" }).click();
    await form.getByRole("alert").getByText("line 10").first().waitFor();
    await form.getByLabel("Leave bad lines out").check();
    await form.getByRole("button", { name: "Submit the batch" }).click();
    await heading("nightly").waitFor();
    await page.getByRole("row", { name: /n0.*running/ }).waitFor();
    await expectAccessible(page);
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
    await lead().getByText("cancelled").waitFor({ timeout: 20_000 });
    await page.getByRole("progressbar").first().waitFor();
  });

  test("a viewer sees its own and can change nothing", async () => {
    await using other = await visit(browser, drover.api.url);
    await other.page.goto("/");
    await logIn(other.page, tokens.viewer);
    await other.page.getByText("Nothing waits.").waitFor();
    expect(await other.page.getByRole("link", { name: "Hosts" }).count()).toBe(0);
    expect(await other.page.getByRole("link", { name: "Submit" }).count()).toBe(0);
    expect(await other.page.getByText("doomed").count()).toBe(0);
    await other.page.goto("/hosts");
    await other.page.getByRole("alert").getByText("needs the role operator").waitFor();
  });

  test("leaves, and the page asks who comes next", async () => {
    expect(visitor.complaints).toEqual([]);
    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByRole("button", { name: "Log in" }).waitFor();
  });
});

async function logIn(page: Page, token: string | undefined): Promise<void> {
  await page.getByLabel("Token").fill(token ?? "");
  await page.getByRole("button", { name: "Log in" }).click();
}

/** Goes with the Tab key to a button or link of that name, sees that it is seen to have the focus, and presses Enter. */
async function press(page: Page, name: RegExp): Promise<void> {
  const STOPS_MAX = 80;
  const FOCUSED = `(() => {
    const one = document.activeElement;
    return { name: (one.getAttribute("aria-label") ?? one.textContent ?? "").trim(), ring: getComputedStyle(one).outlineStyle };
  })()`;
  for (let stop = 0; stop < STOPS_MAX; stop++) {
    await page.keyboard.press("Tab");
    const focused = (await page.evaluate(FOCUSED)) as { name: string; ring: string };
    if (!name.test(focused.name)) continue;
    expect(focused.ring, `the ring around ${focused.name}`).not.toBe("none");
    await page.keyboard.press("Enter");
    return;
  }
  throw new Error(`the Tab key does not reach ${name}`);
}
