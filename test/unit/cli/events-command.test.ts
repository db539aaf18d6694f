import { setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Interrupted } from "../../../src/cli/interrupted.ts";
import { displayWidth } from "../../../src/cli/render/text-width.ts";
import { CloudEvent } from "../../../src/contract/vm-event.ts";
import { waitFor } from "../../helpers/wait-for.ts";
import { FakeApi } from "./fake-api.ts";
import { runCli } from "./run-cli.ts";

const A = "3f2a91c4-1111-4222-8333-444455556666";
let api: FakeApi;

beforeEach(async () => {
  api = await FakeApi.start();
});

afterEach(() => api[Symbol.asyncDispose]());

/** Runs `drover events` until `enough` has been printed, as Ctrl-C would end it. */
async function follow(words: readonly string[], whenOpen: () => void, enough: (out: string) => boolean) {
  const stop = new AbortController();
  let seen = "";
  const opened = setInterval(() => {
    if (api.openStreams === 0) return;
    clearInterval(opened);
    whenOpen();
  }, 5);
  const onOut = (text: string) => {
    seen += text;
    if (enough(seen)) stop.abort(new Interrupted("SIGINT"));
  };
  const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(10_000)]);
  return runCli(["events", "--follow", "--url", api.url, ...words], { signal, onOut });
}

test("shows each event on a line of at most 80 columns, until Ctrl-C", async () => {
  const { out, err, exitCode } = await follow(
    [],
    () => {
      api.emit(A, "vm.queued", { pool: "default", reason: "accepted" });
      api.emit(A, "vm.failed", {
        cause: { code: "guest_panic", message: "a long message ".repeat(10) },
        attempt: 3,
        host: "a1",
        epoch: 3,
        exitCode: null,
      });
    },
    (text) => text.includes("failed"),
  );
  expect([err, exitCode]).toEqual(["", 130]);
  const lines = out.trim().split("\n");
  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d {2}3f2a91c4 {2}queued {8}in pool default$/);
  for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(80);
});

test("with --json each line is a CloudEvent with its place, to go on --after it", async () => {
  api.emit(A, "vm.queued", { pool: "default", reason: "accepted" });
  api.emit(A, "vm.ready", { host: "a1", epoch: 1, readyMs: 5 });
  const { out } = await follow(
    ["--json", "--after", "1000-0"],
    () => undefined,
    (text) => text.includes("vm.ready"),
  );
  const line = JSON.parse(out);
  expect(line.id).toBe("1001-0");
  expect(CloudEvent.parse(line.event).type).toBe("vm.ready");
});

test("a gap is told, and events go on behind it", async () => {
  const notice = { after: "5-0", resumedAfter: "900-0", reason: "trimmed" };
  const { out, err } = await follow(
    [],
    () => {
      api.sendRaw(`event: gap\ndata: ${JSON.stringify(notice)}\n\n`);
      api.emit(A, "vm.queued", { pool: "default", reason: "accepted" });
    },
    (text) => text.includes("queued"),
  );
  expect(err).toContain("events after 5-0 are not kept any more");
  expect(out).toContain("queued");
});

test("a lost connection is opened again where it stopped", async () => {
  const { out } = await follow(
    [],
    () => {
      api.emit(A, "vm.queued", { pool: "default", reason: "accepted" });
      setTimeout(() => api.cutStreams(), 50);
      setTimeout(() => api.emit(A, "vm.ready", { host: "a1", epoch: 1, readyMs: 5 }), 100);
    },
    (text) => text.includes("ready"),
  );
  expect(out.trim().split("\n")).toHaveLength(2);
  expect(api.seen.at(-1)?.headers["last-event-id"]).toBe("1000-0");
});

test("filters go to the API, and --follow must be said", async () => {
  api.add({ id: A });
  await follow(
    ["--vm", "3f2a91c4", "--type", "vm.ready,vm.failed"],
    () => api.emit(A, "vm.ready", { host: "a", epoch: 1, readyMs: 1 }),
    (text) => text !== "",
  );
  const { query } = api.seen.at(-1) ?? { query: new URLSearchParams() };
  expect([query.getAll("vm"), query.getAll("type")]).toEqual([[A], ["vm.ready", "vm.failed"]]);
  expect((await runCli(["events", "--url", api.url])).exitCode).toBe(2);
  expect((await runCli(["events", "-f", "--after", "x"])).exitCode).toBe(2);
});

test("an event of a newer API is passed over, a stranger's stream is an error", async () => {
  const { out, err } = await follow(
    [],
    () => {
      api.sendRaw('id: 1-0\nevent: vm.teleported\ndata: {"type":"vm.teleported"}\n\n');
      api.emit(A, "vm.queued", { pool: "default", reason: "accepted" });
    },
    (text) => text.includes("queued"),
  );
  expect([err, out.trim().split("\n").length]).toEqual(["", 1]);
  await waitFor(() => api.openStreams === 0, { what: "the end of the first connection" });
  const foreign = await follow(
    [],
    () => api.sendRaw("data: hello\n\n"),
    () => false,
  );
  expect([foreign.exitCode, foreign.err]).toEqual([4, expect.stringContaining("DROVER_URL")]);
});

test("Ctrl-C is heard after any number of garbage collections", async () => {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  const stop = new AbortController();
  const running = runCli(["events", "--follow", "--url", api.url], { signal: stop.signal });
  await waitFor(() => api.openStreams === 1, { what: "the stream" });
  for (let round = 0; round < 5; round += 1) {
    await delay(20);
    collect();
  }
  stop.abort(new Interrupted("SIGINT"));
  expect((await running).exitCode).toBe(130);
  await waitFor(() => api.openStreams === 0, { what: "the end of the connection" });
});
