import { expect, test } from "vitest";
import { CloudEvent } from "../../src/contract/vm-event.ts";
import { acceptInput } from "../helpers/queue-world.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { type EventReader, openEvents } from "./http-event-reader.ts";
import { openTestHost } from "./http-host.ts";
import { type HttpWorld, openHttpWorld } from "./http-world.ts";

async function submit(world: HttpWorld, payload: object = {}): Promise<string> {
  return (await world.app.inject({ method: "POST", url: "/v1/vms", payload })).json().id;
}
const subjects = (reader: EventReader) => reader.messages.map(({ data }) => CloudEvent.parse(JSON.parse(data)).subject);
const opened = (reader: EventReader) =>
  waitFor(() => reader.text().includes("retry:"), { what: "the opening of the stream" });

test("the events of a VM's life come as CloudEvents, in order, with the stream's ids", async () => {
  await using world = await openHttpWorld({ listen: true });
  await using host = openTestHost(world);
  const reader = await openEvents(world);
  expect(reader.response.statusCode).toBe(200);
  expect(reader.response.headers).toMatchObject({
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  });
  await opened(reader);
  const id = await submit(world, { name: "life" });
  const launched = await host.take();
  await host.run(launched);
  await host.complete(launched);
  await waitFor(() => reader.messages.length === 5);
  expect(reader.messages.map(({ event }) => event)).toEqual([
    "vm.queued",
    "vm.preparing",
    "vm.starting",
    "vm.running",
    "vm.completed",
  ]);
  const events = reader.messages.map(({ data }) => CloudEvent.parse(JSON.parse(data)));
  expect(events.map(({ id: eventId, sequence }) => [eventId, sequence])).toEqual(
    ["1", "2", "3", "4", "5"].map((n) => [`${id}/${n}`, n]),
  );
  const stream = await world.redis.xrange(world.keys.events, "-", "+");
  expect(reader.messages.map((message) => message.id)).toEqual(stream.map(([entry]) => entry));
});

test("without a place to start only new events come; after=0 begins with the oldest", async () => {
  await using world = await openHttpWorld({ listen: true });
  const old = await submit(world);
  const [fresh, all] = await Promise.all([openEvents(world), openEvents(world, "?after=0")]);
  await Promise.all([opened(fresh), opened(all)]);
  const late = await submit(world);
  await waitFor(() => fresh.messages.length === 1 && all.messages.length === 2);
  expect(subjects(fresh)).toEqual([late]);
  expect(subjects(all)).toEqual([old, late]);
});

test("a reader that reconnects a hundred times with its last id sees every event once", async () => {
  await using world = await openHttpWorld({ listen: true });
  const expected: string[] = [];
  const seen: string[] = [];
  let lastId = "0";
  for (let round = 0; round < 100; round++) {
    expected.push(await submit(world));
    if (round % 3 === 0) expected.push(await submit(world));
    const reader = await openEvents(
      world,
      round % 2 === 0 ? `?after=${lastId}` : "",
      round % 2 === 0 ? {} : { "last-event-id": lastId },
    );
    await waitFor(() => seen.length + reader.messages.length >= expected.length);
    seen.push(...subjects(reader));
    lastId = reader.lastId() ?? lastId;
    reader.stop();
  }
  expect(seen).toEqual(expected);
});

test("Last-Event-ID wins over after", async () => {
  await using world = await openHttpWorld({ listen: true });
  await submit(world);
  const [[entry = ""] = []] = await world.redis.xrange(world.keys.events, "-", "+");
  const second = await submit(world);
  const reader = await openEvents(world, "?after=0", { "last-event-id": entry });
  await waitFor(() => reader.messages.length === 1);
  expect(subjects(reader)).toEqual([second]);
});

test("filters by type and VM narrow the stream; another owner's events never come", async () => {
  await using world = await openHttpWorld({ listen: true });
  await using host = openTestHost(world);
  const [a, b] = [await submit(world), await submit(world)];
  await world.deps.store.accept(acceptInput({}, { owner: "bob" }));
  const [types, vms, both] = await Promise.all([
    openEvents(world, "?after=0&type=vm.preparing&type=vm.failed"),
    openEvents(world, `?after=0&vm=${b.toUpperCase()}`),
    openEvents(world, `?after=0&vm=${a}&vm=${b}&type=vm.queued`),
  ]);
  await host.fail(await host.take());
  await waitFor(() => types.messages.length === 2 && both.messages.length === 2 && vms.messages.length === 1);
  expect(types.messages.map(({ event }) => event)).toEqual(["vm.preparing", "vm.failed"]);
  expect(subjects(vms)).toEqual([b]);
  expect(subjects(both)).toEqual([a, b]);
});

test("events that were trimmed are announced as a gap, then what is kept follows", async () => {
  await using world = await openHttpWorld({ listen: true });
  await submit(world);
  const [[first = ""] = []] = await world.redis.xrange(world.keys.events, "-", "+");
  await submit(world);
  const kept = await submit(world);
  await world.redis.xtrim(world.keys.events, "MAXLEN", 1);
  const reader = await openEvents(world, "", { "last-event-id": first });
  await waitFor(() => reader.messages.length === 2);
  expect(reader.messages[0]).toMatchObject({ event: "gap", id: undefined });
  expect(JSON.parse(reader.messages[0]?.data ?? "")).toEqual({ after: first, resumedAfter: "0-0", reason: "trimmed" });
  expect(CloudEvent.parse(JSON.parse(reader.messages[1]?.data ?? "")).subject).toBe(kept);
});

test("an id of a stream that Redis has lost is a gap too", async () => {
  await using world = await openHttpWorld({ listen: true });
  const kept = await submit(world);
  const reader = await openEvents(world, "?after=99999999999999-0");
  await waitFor(() => reader.messages.length === 2);
  expect(JSON.parse(reader.messages[0]?.data ?? "")).toMatchObject({ reason: "reset" });
  expect(CloudEvent.parse(JSON.parse(reader.messages[1]?.data ?? "")).subject).toBe(kept);
});

test.each([
  ["?after=$", {}],
  ["?after=abc", {}],
  ["?type=vm.exploded", {}],
  ["?vm=x", {}],
  ["?nope=1", {}],
  ["", { "last-event-id": "x'; DROP" }],
])("%s %j is refused", async (query, headers) => {
  await using world = await openHttpWorld();
  const reply = await world.app.inject({ url: `/v1/events${query}`, headers });
  expect([reply.statusCode, reply.json().code]).toEqual([400, "invalid_request"]);
});

test("silence is broken by heartbeats", async () => {
  await using world = await openHttpWorld({ listen: true, limits: { heartbeatMs: 30 } });
  const reader = await openEvents(world);
  await waitFor(() => (reader.text().match(/^: heartbeat$/gm) ?? []).length >= 3);
  expect(reader.messages).toEqual([]);
});

test("a reader that takes nothing is cut, the others notice nothing, and memory stays bounded", async () => {
  await using world = await openHttpWorld({ listen: true, limits: { backlogMaxEvents: 300, stallMs: 400 } });
  const [slow, quick] = await Promise.all([openEvents(world, "", { "x-reader": "slow" }), openEvents(world)]);
  await Promise.all([opened(slow), opened(quick)]);
  slow.response.pause();
  const padding = "x".repeat(16_000);
  const total = 1_500;
  for (let sent = 0; sent < total; sent += 100) {
    const pipeline = world.redis.pipeline();
    for (let n = sent; n < sent + 100; n++) {
      pipeline.xadd(
        world.keys.events,
        "*",
        "type",
        "vm.queued",
        "vm",
        "v",
        "owner",
        "local",
        "seq",
        String(n),
        "at",
        "1",
        "data",
        JSON.stringify({ padding }),
      );
    }
    await pipeline.exec();
    await waitFor(() => quick.messages.length >= sent + 100, { what: "the quick reader" });
  }
  expect(quick.ended()).toBe(false);
  await waitFor(async () => (await connections(world)) === 1, { what: "the slow reader to be cut" });
  slow.response.resume();
  await waitFor(() => slow.ended());
  const ids = slow.messages.map(({ data }) => Number(JSON.parse(data).sequence));
  expect(ids.length).toBeLessThan(total);
  expect(ids, "what it got is a run without holes").toEqual(ids.map((_, index) => index));
});

test("more readers than there are seats are told to come back, and a seat that is left is given again", async () => {
  await using world = await openHttpWorld({ listen: true, limits: { eventClientsMax: 2 } });
  const [first] = await Promise.all([openEvents(world), openEvents(world)]);
  const refused = await world.app.inject("/v1/events");
  expect([refused.statusCode, refused.json().code, refused.headers["retry-after"]]).toEqual([
    429,
    "too_many_requests",
    "5",
  ]);
  first?.stop();
  const again = await waitFor(async () => {
    const reader = await openEvents(world);
    return reader.response.statusCode === 200 ? reader : undefined;
  });
  await opened(again);
});

test("closing the server ends open streams in good order and soon", async () => {
  const world = await openHttpWorld({ listen: true });
  const reader = await openEvents(world);
  await opened(reader);
  const startedMs = performance.now();
  await world[Symbol.asyncDispose]();
  expect(performance.now() - startedMs).toBeLessThan(2_000);
  await waitFor(() => reader.ended());
  expect(reader.response.complete).toBe(true);
});

function connections(world: HttpWorld): Promise<number> {
  return new Promise((resolve, reject) =>
    world.app.server.getConnections((error, count) => (error === null ? resolve(count) : reject(error))),
  );
}
