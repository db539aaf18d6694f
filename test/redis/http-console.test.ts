import { get } from "node:http";
import { expect, test } from "vitest";
import { waitFor } from "../helpers/wait-for.ts";
import { openTestHost } from "./http-host.ts";
import { type HttpWorld, openHttpWorld } from "./http-world.ts";

const QUICK = { consolePollMs: 15 };

async function submit(world: HttpWorld): Promise<string> {
  return (await world.app.inject({ method: "POST", url: "/v1/vms", payload: {} })).json().id;
}
const read = (world: HttpWorld, id: string, query = "") => world.app.inject(`/v1/vms/${id}/console${query}`);

interface Follower {
  readonly status: number | undefined;
  readonly headers: Record<string, unknown>;
  readonly text: () => string;
  readonly ended: () => boolean;
  stop(): void;
}

function follow(world: HttpWorld, id: string, query = "?follow"): Promise<Follower> {
  return new Promise((resolve, reject) => {
    const request = get(`${world.url}/v1/vms/${id}/console${query}`, (response) => {
      let text = "";
      let ended = false;
      response.setEncoding("latin1").on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("end", () => {
        ended = true;
      });
      response.on("error", () => undefined);
      resolve({
        status: response.statusCode,
        headers: response.headers,
        text: () => text,
        ended: () => ended,
        stop: () => request.destroy(),
      });
    });
    request.on("error", reject);
  });
}

test("a queued VM's console is empty, a live one's is its window, an ended one's its last lines", async () => {
  await using world = await openHttpWorld();
  await using host = openTestHost(world);
  const id = await submit(world);
  const empty = await read(world, id);
  expect([empty.statusCode, empty.body, empty.headers["content-type"]]).toEqual([200, "", "text/plain; charset=utf-8"]);
  const launched = await host.take();
  await host.run(launched);
  await host.print(launched, "booting\n");
  await host.print(launched, "up\n");
  expect((await read(world, id)).body).toBe("booting\nup\n");
  expect((await read(world, id, "?bytes=3")).body).toBe("up\n");
  expect((await read(world, id, "?bytes=0")).body).toBe("");
  await host.complete(launched, "booting\nup\nbye\n");
  expect((await read(world, id)).body).toBe("booting\nup\nbye\n");
  expect((await read(world, id, "?bytes=4")).body).toBe("bye\n");
});

test("bytes that are no text come as they are", async () => {
  await using world = await openHttpWorld();
  await using host = openTestHost(world);
  const id = await submit(world);
  const launched = await host.take();
  await host.print(launched, "\u00ff\u0000\u001b[31m");
  expect((await read(world, id)).rawPayload).toEqual(Buffer.from("\u00ff\u0000\u001b[31m", "latin1"));
});

test("a follower gets everything from the first byte to the last, then the answer ends", async () => {
  await using world = await openHttpWorld({ listen: true, limits: QUICK });
  await using host = openTestHost(world);
  const id = await submit(world);
  const follower = await follow(world, id);
  expect([follower.status, follower.headers["content-type"]]).toEqual([200, "text/plain; charset=utf-8"]);
  const launched = await host.take();
  await host.run(launched);
  let printed = "";
  for (let n = 1; n <= 30; n++) {
    await host.print(launched, `line ${n}\n`);
    printed += `line ${n}\n`;
  }
  await waitFor(() => follower.text() === printed, { what: "all lines" });
  expect(follower.ended()).toBe(false);
  await host.complete(launched, `${printed}bye\n`);
  await waitFor(() => follower.ended());
  expect(follower.text()).toBe(`${printed}bye\n`);
});

test("it goes over from one launch to the next, and ends with the VM only", async () => {
  await using world = await openHttpWorld({ listen: true, limits: QUICK });
  await using host = openTestHost(world);
  const id = await submit(world);
  const follower = await follow(world, id);
  const first = await host.take();
  await host.run(first);
  await host.print(first, "first\n");
  await waitFor(() => follower.text() === "first\n");
  await host.fail(first, { again: true, console: "first\npanic\n" });
  await waitFor(() => follower.text() === "first\npanic\n");
  expect(follower.ended()).toBe(false);
  const second = await waitFor(() => host.take());
  await host.run(second);
  await host.print(second, "second\n");
  await waitFor(() => follower.text() === "first\npanic\nsecond\n");
  await host.complete(second, "second\n");
  await waitFor(() => follower.ended());
  expect(follower.text()).toBe("first\npanic\nsecond\n");
});

test("what was lost is said", async () => {
  await using world = await openHttpWorld({ listen: true, limits: QUICK });
  await using host = openTestHost(world);
  const id = await submit(world);
  const launched = await host.take();
  await host.run(launched);
  await host.print(launched, "start\n");
  const follower = await follow(world, id);
  await waitFor(() => follower.text() === "start\n");
  await host.print(launched, "later\n", 5_000);
  await waitFor(() => follower.ended() || follower.text().includes("later"));
  expect(follower.text()).toBe("start\n\n[drover: 5000 bytes of the console were lost here]\nlater\n");
  follower.stop();
});

test("a late follower begins with the bytes it asks for; one of an ended VM gets its lines and the end", async () => {
  await using world = await openHttpWorld({ listen: true, limits: QUICK });
  await using host = openTestHost(world);
  const id = await submit(world);
  const launched = await host.take();
  await host.run(launched);
  await host.print(launched, "0123456789");
  const late = await follow(world, id, "?follow=true&bytes=3");
  await waitFor(() => late.text() === "789");
  await host.complete(launched, "0123456789");
  await waitFor(() => late.ended());
  expect(late.text()).toBe("789");
  const after = await follow(world, id, "?follow=1&bytes=2");
  await waitFor(() => after.ended());
  expect(after.text()).toBe("89");
});

test("a flood reaches a follower without the window ever being larger than its bound", async () => {
  await using world = await openHttpWorld({ listen: true, limits: QUICK });
  await using host = openTestHost(world);
  const id = await submit(world);
  const launched = await host.take();
  const follower = await follow(world, id);
  for (let n = 0; n < 60; n++) await host.print(launched, `${String(n).padStart(4, "0")}${"x".repeat(16_000)}`);
  expect(await world.redis.hstrlen(world.keys.console(id), "data")).toBeLessThan(100_000);
  await waitFor(() => follower.text().includes("0059"));
  follower.stop();
});

test("more followers than seats get 429, and one that leaves gives its seat back", async () => {
  await using world = await openHttpWorld({ listen: true, limits: { ...QUICK, consoleClientsMax: 1 } });
  const id = await submit(world);
  const follower = await follow(world, id);
  const refused = await read(world, id, "?follow");
  expect([refused.statusCode, refused.json().code]).toEqual([429, "too_many_requests"]);
  expect((await read(world, id)).statusCode, "reading once takes no seat").toBe(200);
  follower.stop();
  const again = await waitFor(async () => {
    const next = await follow(world, id);
    return next.status === 200 ? next : undefined;
  });
  again.stop();
});

test("closing the server ends followers soon", async () => {
  const world = await openHttpWorld({ listen: true });
  const id = await submit(world);
  const follower = await follow(world, id);
  const startedMs = performance.now();
  await world[Symbol.asyncDispose]();
  expect(performance.now() - startedMs).toBeLessThan(2_000);
  await waitFor(() => follower.ended());
});

test.each(["?bytes=-1", "?bytes=1e9", "?follow=perhaps", "?x=1"])("%s is refused", async (query) => {
  await using world = await openHttpWorld();
  const reply = await read(world, await submit(world), query);
  expect([reply.statusCode, reply.json().code]).toEqual([400, "invalid_request"]);
});
