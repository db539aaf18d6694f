import { expect, test } from "vitest";
import type { CauseCode } from "../../../src/contract/causes.ts";
import { Breaker, type BreakerState } from "../../../src/worker/breaker.ts";
import { FakeClock } from "../../helpers/fake-clock.ts";

const FULL_PAUSE_MS = 5 * 60_000;

function openBreaker() {
  const clock = new FakeClock();
  const told: BreakerState[] = [];
  const breaker = new Breaker({ clock, onChanged: (state) => told.push(state) });
  const fail = (code: CauseCode, times = 1) => {
    for (let i = 0; i < times; i++) breaker.noteEnd({ cause: { code, message: "m" } });
  };
  return { clock, breaker, told, fail };
}

test("after three faults of the host in a row nothing is taken for a while", () => {
  const { breaker, told, fail } = openBreaker();
  fail("kvm_unavailable", 2);
  expect(breaker.allows(7)).toBe(true);
  fail("disk_full");
  expect(breaker.allows(0)).toBe(false);
  expect(breaker.state).toEqual({ failures: 3, openForMs: 5_000, cause: "disk_full" });
  expect(
    told.map(({ failures }) => failures),
    "each is told",
  ).toEqual([1, 2, 3]);
});

test("then one launch at a time is tried, and the first that runs closes it", () => {
  const { clock, breaker, told, fail } = openBreaker();
  fail("kvm_unavailable", 3);
  clock.advance(4_999);
  expect(breaker.allows(0)).toBe(false);
  clock.advance(1);
  expect(breaker.allows(0)).toBe(true);
  expect(breaker.allows(1), "one at a time").toBe(false);
  breaker.noteRunning();
  expect(breaker.allows(20)).toBe(true);
  expect(told.at(-1)).toEqual({ failures: 0, openForMs: 0, cause: null });
  fail("kvm_unavailable", 2);
  expect(breaker.allows(1), "it counts from the beginning").toBe(true);
});

test("every try that fails doubles the pause, up to five minutes", () => {
  const { clock, breaker, fail } = openBreaker();
  fail("kvm_unavailable", 3);
  const pauses = [];
  for (let i = 0; i < 8; i++) {
    pauses.push(breaker.state.openForMs);
    clock.advance(breaker.state.openForMs);
    expect(breaker.allows(0)).toBe(true);
    fail("kvm_unavailable");
  }
  expect(pauses).toEqual([5_000, 10_000, 20_000, 40_000, 80_000, 160_000, FULL_PAUSE_MS, FULL_PAUSE_MS]);
});

test.each<CauseCode>(["guest_panic", "spec_invalid", "boot_timeout", "worker_crashed", "host_lost", "ports_exhausted"])(
  "%s is not this host's fault, or spoils no other launch: it counts nothing, and closes nothing",
  (code) => {
    const { breaker, told, fail } = openBreaker();
    fail(code, 10);
    breaker.noteEnd({ cause: null });
    expect(breaker.allows(5)).toBe(true);
    expect(told).toEqual([]);
    fail("kvm_unavailable", 3);
    fail(code);
    expect(breaker.state.failures).toBe(3);
  },
);

test("a launch that runs while all is well is nobody's news", () => {
  const { breaker, told } = openBreaker();
  breaker.noteRunning();
  expect(told).toEqual([]);
});
