import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { FaultProxy } from "../../chaos/fault-proxy.ts";
import { waitFor } from "../../helpers/wait-for.ts";

/** A server that answers with what it gets, behind a proxy. */
async function world() {
  const server = createServer((socket) => socket.on("error", () => undefined).pipe(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const proxy = await FaultProxy.start((server.address() as AddressInfo).port);
  const clients: Socket[] = [];
  return {
    proxy,
    async client() {
      const socket = connect(proxy.port, "127.0.0.1");
      clients.push(socket);
      const seen = { text: "", closed: false, reset: false };
      socket.on("data", (chunk) => {
        seen.text += chunk;
      });
      socket.on("error", (error: NodeJS.ErrnoException) => {
        seen.reset = error.code === "ECONNRESET";
      });
      socket.on("close", () => {
        seen.closed = true;
      });
      await new Promise<void>((resolve) => socket.once("connect", resolve).once("close", () => resolve())); // or reset at once
      return { seen, say: (text: string) => socket.write(text) };
    },
    async [Symbol.asyncDispose]() {
      for (const socket of clients) socket.destroy();
      await proxy[Symbol.asyncDispose]();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Long enough for an answer over loopback that nobody holds back. */
const A_MOMENT_MS = 100;

test("without a fault everything passes", async () => {
  await using made = await world();
  const { seen, say } = await made.client();
  say("hello");
  await waitFor(() => seen.text === "hello", { what: "the answer" });
});

test("latency delays each way and keeps the order, also of what comes after it", async () => {
  await using made = await world();
  const { seen, say } = await made.client();
  made.proxy.inflict({ verb: "latency", ms: 80 });
  const startedMs = performance.now();
  say("1");
  await delay(20);
  made.proxy.heal();
  say("2");
  await waitFor(() => seen.text.length === 2, { what: "both answers" });
  expect(seen.text).toBe("12");
  expect(performance.now() - startedMs).toBeGreaterThanOrEqual(75);
});

test("a black hole swallows everything, tells nobody, and resets what it has swallowed from when it ends", async () => {
  await using made = await world();
  const old = await made.client();
  made.proxy.inflict({ verb: "black-hole" });
  const fresh = await made.client();
  old.say("lost");
  fresh.say("lost");
  await delay(A_MOMENT_MS);
  expect([old.seen, fresh.seen]).toEqual([
    { text: "", closed: false, reset: false },
    { text: "", closed: false, reset: false },
  ]);
  made.proxy.heal();
  await waitFor(() => old.seen.reset && fresh.seen.reset, { what: "both to be reset" });
  const next = await made.client();
  next.say("back");
  await waitFor(() => next.seen.text === "back", { what: "the answer" });
});

test("a reset ends what there is and what comes, until it is healed", async () => {
  await using made = await world();
  const old = await made.client();
  old.say("hello");
  await waitFor(() => old.seen.text === "hello", { what: "the answer" });
  made.proxy.inflict({ verb: "reset" });
  await waitFor(() => old.seen.reset, { what: "the reset" });
  const fresh = await made.client();
  await waitFor(() => fresh.seen.closed, { what: "the new one to be reset" });
});

test("a half-open connection stays silent for ever while new ones work", async () => {
  await using made = await world();
  const old = await made.client();
  old.say("hello");
  await waitFor(() => old.seen.text === "hello", { what: "the answer" });
  made.proxy.inflict({ verb: "half-open" });
  old.say(" again");
  const fresh = await made.client();
  fresh.say("hello");
  await waitFor(() => fresh.seen.text === "hello", { what: "the answer" });
  made.proxy.heal();
  old.say(" and again");
  await delay(A_MOMENT_MS);
  expect(old.seen).toEqual({ text: "hello", closed: false, reset: false });
});

test("an answer is cut within", async () => {
  await using made = await world();
  const { seen, say } = await made.client();
  say("before");
  await waitFor(() => seen.text === "before", { what: "the answer" });
  made.proxy.inflict({ verb: "cut-after", bytes: 3 });
  say("123456");
  await waitFor(() => seen.closed, { what: "the cut" });
  expect("before123".startsWith(seen.text), seen.text).toBe(true);
});
