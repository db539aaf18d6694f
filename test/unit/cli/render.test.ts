import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatAge, formatSpan } from "../../../src/cli/render/age.ts";
import { ConsoleFilter, consoleLines } from "../../../src/cli/render/console-text.ts";
import { eventText } from "../../../src/cli/render/event-text.ts";
import { renderHost } from "../../../src/cli/render/host-detail.ts";
import { renderHostTable } from "../../../src/cli/render/host-text.ts";
import { LogText } from "../../../src/cli/render/log-text.ts";
import { createPaint, wantsColour } from "../../../src/cli/render/paint.ts";
import { shortIdLength } from "../../../src/cli/render/short-id.ts";
import { renderTable } from "../../../src/cli/render/table.ts";
import { displayWidth, printable, truncate, wrap } from "../../../src/cli/render/text-width.ts";
import { renderVmDetail } from "../../../src/cli/render/vm-detail.ts";
import { renderVmTable } from "../../../src/cli/render/vm-table.ts";
import { CAUSE_CODES } from "../../../src/contract/causes.ts";
import { HOST_STATUSES } from "../../../src/contract/host-view.ts";
import { HOST_WISHES } from "../../../src/contract/host-wish.ts";
import { type CloudEvent, EVENT_CATALOGUE, VM_EVENT_TYPES } from "../../../src/contract/vm-event.ts";
import { VM_STATES } from "../../../src/contract/vm-state.ts";
import { hostDetail, vmDetail } from "./fake-api.ts";
import { NOW_MS } from "./run-cli.ts";

const plain = createPaint(false);
const screen = { columns: 80, paint: plain, nowMs: NOW_MS };
const text = fc.string({ unit: "grapheme", maxLength: 200 });
const name = fc.option(text, { nil: undefined });

/** Version 7 among them: of the same moment, these differ late. */
const anyId = fc.oneof(
  fc.uuid(),
  fc.integer({ min: 0, max: 99 }).map((n) => `01932c4e-7b1a-7000-8000-0000000000${String(n).padStart(2, "0")}`),
);

const anyVm = fc
  .record({
    id: anyId,
    state: fc.constantFrom(...VM_STATES),
    name,
    host: fc.option(text, { nil: null }),
    hostStatus: fc.constantFrom("live", "unreachable", null),
    address: fc.option(
      fc.record({ host: fc.oneof(fc.ipV4(), fc.ipV6(), text), port: fc.integer({ min: 1, max: 65535 }) }),
      { nil: null },
    ),
    cause: fc.option(fc.constantFrom(...CAUSE_CODES), { nil: null }),
    message: text,
    console: text,
    result: fc.option(text, { nil: null }),
  })
  .map(({ name: label, cause, message, console, result, ...rest }) =>
    vmDetail({
      ...rest,
      spec: label === undefined ? {} : { labels: { a: printable(label).slice(0, 200) } },
      cause: cause === null ? null : { code: cause, message, fault: "vm", action: message },
      result: { exitCode: 3, data: null, text: result },
      tail: { console, qemu: message },
      command: message,
      launches: [
        {
          epoch: 1,
          host: message,
          port: 6100,
          startedAt: "2026-11-23T19:00:00.000Z",
          endedAt: null,
          cause: cause && { code: cause, message },
        },
      ],
    }),
  );

test("whatever VMs hold, a list fits 80 columns and no line can steer the terminal", () => {
  fc.assert(
    fc.property(fc.array(anyVm, { minLength: 1, maxLength: 5 }), (vms) => {
      for (const line of renderVmTable(vms, screen)) {
        expect(displayWidth(line)).toBeLessThanOrEqual(80);
        expect(line).toBe(printable(line));
      }
    }),
  );
});

test("whatever a VM holds, its description fits 80 columns and no line can steer the terminal", () => {
  fc.assert(
    fc.property(anyVm, (vm) => {
      for (const line of renderVmDetail(vm, screen)) {
        expect(displayWidth(line), line).toBeLessThanOrEqual(80);
        expect(line).toBe(printable(line));
      }
    }),
  );
});

const anyHost = fc
  .record({
    id: text,
    status: fc.constantFrom(...HOST_STATUSES),
    version: fc.option(text, { nil: null }),
    address: fc.option(text, { nil: null }),
    tee: fc.option(text, { nil: null }),
    gpu: fc.option(text, { nil: null }),
    pools: fc.array(text, { maxLength: 3 }),
    vms: fc.integer({ min: 0, max: 200 }),
    slots: fc.option(fc.integer({ min: -1, max: 1000 }), { nil: null }),
    lost: fc.constantFrom("rerun", "hold", undefined),
    away: fc.boolean(),
    open: fc.boolean(),
    message: text,
    wanted: fc.constantFrom(...HOST_WISHES),
    heeded: fc.boolean(),
    done: fc.boolean(),
  })
  .map(({ lost, away, open, message, wanted, heeded, done, ...rest }) =>
    hostDetail({
      ...rest,
      admission: {
        state: wanted,
        since: "2026-11-23T18:00:00.000Z",
        by: message,
        note: message,
        evacuatesAt: open ? "2026-11-23T20:00:00.000Z" : null,
        heeded,
        done,
        held: 3,
      },
      labels: { zone: message, [message]: "a" },
      machine: { cpu: message, cores: 2, kernel: message, qemu: message, bootedAt: "2026-11-20T18:00:00.000Z" },
      policy: lost === undefined ? null : { lost, lostAfterMs: 7_200_000, onPartition: "stop" },
      awayUntil: away ? "2026-11-23T20:00:00.000Z" : null,
      silentSince: "2026-11-23T18:00:00.000Z",
      breaker: open
        ? { openUntil: "2026-11-23T19:30:00.000Z", failures: 3, cause: { code: "disk_full", message } }
        : null,
      vmIds: Array.from({ length: Math.min(rest.vms, 3) }, (_, n) => `01932c4e-7b1a-7000-8000-00000000000${n}`),
    }),
  );

test("whatever hosts say of themselves, list and description fit 80 columns and no line can steer the terminal", () => {
  fc.assert(
    fc.property(fc.array(anyHost, { minLength: 1, maxLength: 4 }), (hosts) => {
      for (const line of [...renderHostTable(hosts, screen), ...hosts.flatMap((host) => renderHost(host, screen))]) {
        expect(displayWidth(line), line).toBeLessThanOrEqual(80);
        expect(line).toBe(printable(line));
      }
    }),
  );
});

test("a wide screen shows ids in full, a narrow one what tells them apart", () => {
  const vms = ["3f2a91c4-1111-4222-8333-444455556666", "3f2a91c4-1222-4222-8333-444455556666"].map((id) =>
    vmDetail({ id, spec: { name: "a longer name" }, host: "a-host" }),
  );
  expect(renderVmTable(vms, { ...screen, columns: 120 })[1]).toContain(vms[0]?.id);
  expect(renderVmTable(vms, { ...screen, columns: 60 })[1]).toMatch(/^3f2a91c4-11 {2}/);
});

test("owners are shown where there are several", () => {
  const of = (...owners: string[]) =>
    renderVmTable(
      owners.map((owner) => vmDetail({ owner })),
      screen,
    ).join("\n");
  expect(of("red", "red")).not.toMatch(/OWNER|red/);
  expect(of("red", "blue")).toMatch(/OWNER.*red.*blue/s);
});

test("columns that nobody needs are left out, the widest gives way first", () => {
  const columns = [
    { title: "ID" },
    { title: "A", shrinkTo: 3 },
    { title: "B", shrinkTo: 3 },
    { title: "C", optional: true },
  ];
  const cells = (...texts: string[]) => texts.map((one) => ({ text: one }));
  expect(renderTable(columns, [cells("1", "short", "a very long text", "")], 20)).toEqual([
    "ID  A      B",
    "1   short  a very l…",
  ]);
});

describe("widths", () => {
  test("count cells, not characters", () => {
    expect(displayWidth("漢字")).toBe(4);
    expect(displayWidth("e\u0301")).toBe(1);
    expect(displayWidth("👩‍👩‍👧")).toBe(2);
    expect(truncate("漢字かな", 5)).toBe("漢字…");
  });

  test("hold for whatever is cut or wrapped, and wrapping loses nothing but blanks", () => {
    fc.assert(
      fc.property(text.map(printable), fc.integer({ min: 4, max: 100 }), (one, width) => {
        expect(displayWidth(truncate(one, width))).toBeLessThanOrEqual(width);
        const lines = wrap(one, width);
        for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(width);
        expect(lines.join("").replaceAll(" ", "")).toBe(one.replaceAll(" ", ""));
      }),
    );
  });
});

test("the shortest ids are eight characters and grow where they must", () => {
  expect(shortIdLength([])).toBe(8);
  expect(shortIdLength(["aaaaaaaa-1", "aaaaaaaa-2"])).toBe(10);
  expect(shortIdLength(["aaaaaaaa-1", "aaaaaaaa-1"])).toBe(8);
});

describe("a guest's console", () => {
  const ESCAPE = "\u001b";

  test("keeps colours and loses what steers the terminal, wherever the chunks are cut", () => {
    const written = `a${ESCAPE}[31mb${ESCAPE}[0m${ESCAPE}[2J${ESCAPE}]52;c;aGk=\u0007c${ESCAPE}(Bd${ESCAPE}P1$r\u001b\\e\u0007\u009bf\r\n`;
    const shown = `a${ESCAPE}[31mb${ESCAPE}[0mcdef\r\n`;
    const bytes = Buffer.from(written);
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      const filter = new ConsoleFilter();
      expect(filter.push(bytes.subarray(0, cut)) + filter.push(bytes.subarray(cut)), `cut at ${cut}`).toBe(shown);
    }
  });

  test("never lets an escape through that is no colour", () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: fc.constantFrom(ESCAPE, "[", "]", "m", "3", ";", "\\", "\u0007", "P", "a", "H") }), {
          maxLength: 8,
        }),
        (chunks) => {
          const filter = new ConsoleFilter();
          const out = chunks.map((chunk) => filter.push(Buffer.from(chunk))).join("");
          // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are escape sequences
          expect(out.replace(/\u001b\[[0-9;]*m/g, "")).not.toContain(ESCAPE);
        },
      ),
    );
  });

  test("becomes lines", () => {
    expect(consoleLines(`one\r\n${ESCAPE}[1mtwo${ESCAPE}[0m\tx\n\n\n`)).toEqual(["one", "two    x"]);
  });
});

test("every type of event has a sentence, and data of a newer version are shown as they came", () => {
  const samples: Record<string, unknown> = {
    host: "a1",
    epoch: 2,
    port: 6100,
    setAside: 6101,
    pid: 7,
    address: "10.0.0.1",
    bootMs: 2100,
    readyMs: 10,
    pool: "default",
    by: "local",
    attempt: 1,
    attempts: 3,
    delayMs: 5000,
    exitCode: 0,
    cause: { code: "guest_panic", message: "it panicked" },
    lost: "the job",
    state: "running",
    currentEpoch: 3,
    unverified: true,
    outcome: "failed",
    total: 5,
    completed: 4,
    failed: 1,
    expired: 0,
    removed: 0,
    skipped: 0,
  };
  const reasons: Record<string, string> = {
    "vm.queued": "requeued",
    "vm.removal_requested": "ttl",
    "vm.expired": "ttl",
  };
  for (const type of VM_EVENT_TYPES) {
    const schema = EVENT_CATALOGUE[type].data;
    const data = Object.fromEntries(
      Object.keys(schema.shape).map((key) => [key, key === "reason" ? (reasons[type] ?? "done") : samples[key]]),
    );
    expect(schema.safeParse(data).error).toBeUndefined();
    const shown = eventText({ type, data } as CloudEvent);
    expect(shown, type).not.toMatch(/undefined|\{|^$/);
  }
  expect(eventText({ type: "vm.ready", data: { later: 1 } } as unknown as CloudEvent)).toBe('{"later":1}');
});

test("log lines for people keep the whole command", () => {
  const command = `qemu ${"x".repeat(500)}`;
  const line = new LogText(plain).format(
    JSON.stringify({
      level: "info",
      time: "2026-11-23T19:00:00.000Z",
      name: "worker",
      msg: "launching",
      command,
      err: { message: "no", stack: "at" },
    }),
  );
  expect(line).toMatch(/^\d\d:\d\d:\d\d {2}info {3}worker {2}launching {2}command=qemu x{500} {2}err=no\n$/);
  expect(new LogText(plain).format("not json\n")).toBe("not json\n");
});

test("spans and ages are short", () => {
  expect([0, 119_000, 120_000, 7_300_000, 200_000_000].map(formatAge)).toEqual(["0s", "119s", "2m", "2h", "2d"]);
  expect([12, 12_345, 245_000, 7_380_000, 200_000_000].map(formatSpan)).toEqual([
    "12 ms",
    "12.3 s",
    "4m 5s",
    "2h 3m",
    "2d 7h",
  ]);
});

test("colours are for screens, and NO_COLOR switches them off", () => {
  expect(wantsColour(true, {})).toBe(true);
  expect(wantsColour(true, { NO_COLOR: "1" })).toBe(false);
  expect(wantsColour(true, { TERM: "dumb" })).toBe(false);
  expect(wantsColour(false, {})).toBe(false);
  expect(wantsColour(false, { FORCE_COLOR: "1" })).toBe(true);
});
