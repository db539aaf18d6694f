import { pino } from "pino";
import { expect, test } from "vitest";
import type { WishInForce } from "../../../src/contract/host-wish.ts";
import type { HostDescription } from "../../../src/queue/host-description.ts";
import type { Launch } from "../../../src/worker/launch.ts";
import { UNWISHED, WishKeeper } from "../../../src/worker/wish-keeper.ts";
import { FakeClock } from "../../helpers/fake-clock.ts";
import { hostDescription } from "../../helpers/host-descriptions.ts";

interface FakeVm {
  readonly pool: string;
  readonly avoid?: Record<string, number>;
}

const wanted = (kind: WishInForce["kind"], atMs: number, over: Partial<WishInForce> = {}): WishInForce => ({
  kind,
  by: "local",
  note: null,
  timeoutMs: null,
  atMs,
  ...over,
});
const other = (over: Partial<HostDescription> = {}) => hostDescription({ hostId: "host-b", ...over });

/** A keeper of host-a over VMs that are only a list. */
function openKeeper(first?: WishInForce) {
  const clock = new FakeClock();
  const vms: FakeVm[] = [];
  const released: FakeVm[] = [];
  const published: NonNullable<HostDescription["wish"]>[] = [];
  const retold: WishInForce[] = [];
  const live: HostDescription[] = [hostDescription()];
  let woken = 0;
  const keeper = new WishKeeper({
    hostId: "host-a",
    first,
    runs: {
      get size() {
        return vms.length;
      },
      get stayingPools() {
        return [...new Set(vms.map(({ pool }) => pool))];
      },
      releaseWhere(mayGo) {
        for (const vm of [...vms]) {
          const launch = { identity: { pool: vm.pool }, avoid: vm.avoid ?? {} } as unknown as Launch;
          if (mayGo(launch)) released.push(...vms.splice(vms.indexOf(vm), 1));
        }
        return vms.length;
      },
      wake: () => woken++,
    },
    hosts: { liveHosts: async (pool) => live.filter(({ pools }) => pools.includes(pool)) },
    publish: (wish) => published.push(wish),
    retell: async (wish) => retold.push(wish),
    clock,
    logger: pino({ level: "silent" }),
  });
  return { keeper, clock, vms, released, published, retold, live, wakes: () => woken };
}

test("a host is open until it is wanted otherwise, and says what it has heard", () => {
  const { keeper, published, wakes } = openKeeper();
  keeper.heed(undefined);
  expect([keeper.isOpen, published]).toEqual([true, []]);
  for (const kind of ["cordoned", "draining", "evacuating"] as const) {
    keeper.heed(wanted(kind, 5));
    expect(keeper.isOpen, kind).toBe(false);
    expect(published.at(-1)).toEqual({ kind, atMs: 5, held: 0 });
  }
  keeper.heed(wanted("open", 9));
  keeper.heed(wanted("open", 9));
  expect([keeper.isOpen, published.length, wakes()]).toEqual([true, 4, 4]);
});

test("what was wanted before the worker started counts from its first moment on", () => {
  const { keeper, published } = openKeeper(wanted("cordoned", 5));
  expect([keeper.isOpen, published]).toEqual([false, [{ kind: "cordoned", atMs: 5, held: 0 }]]);
});

test("a wish that Redis has lost stands, and is written down again", () => {
  const { keeper, retold } = openKeeper(wanted("cordoned", 5, { note: "why" }));
  keeper.heed(undefined);
  expect([keeper.isOpen, retold]).toEqual([false, [wanted("cordoned", 5, { note: "why" })]]);
});

test("an evacuation stops the VMs that another live and open host can take, and no others", async () => {
  const { keeper, vms, released, published, live, clock } = openKeeper();
  vms.push({ pool: "default" }, { pool: "@host-a" }, { pool: "default", avoid: { "host-b": clock.nowMs() + 60_000 } });
  live.push(other({ wish: { kind: "cordoned", atMs: 1, held: 0 } }));
  await keeper.step();
  keeper.heed(wanted("cordoned", 5));
  await keeper.step();
  keeper.heed(wanted("evacuating", 6));
  await keeper.step();
  expect([released, published.at(-1)?.held], "host-b takes none itself").toEqual([[], 3]);
  live.push(other({ hostId: "host-b", wish: UNWISHED }));
  await keeper.step();
  expect(released).toEqual([{ pool: "default" }]);
  expect(published.at(-1)).toEqual({ kind: "evacuating", atMs: 6, held: 2 });
  clock.advance(61_000);
  await keeper.step();
  expect([released.length, vms, published.at(-1)?.held]).toEqual([2, [{ pool: "@host-a" }], 1]);
});

test("another worker that says nothing of wishes is of an earlier version, and takes VMs", async () => {
  const { keeper, vms, released, live } = openKeeper(wanted("evacuating", 6));
  vms.push({ pool: "default" });
  const { wish: _wish, ...old } = other();
  live.push(old);
  await keeper.step();
  expect(released).toHaveLength(1);
});

test("a drain stops nothing until its time is over, and nothing at all without one", async () => {
  const { keeper, vms, released, live, clock } = openKeeper();
  vms.push({ pool: "default" });
  live.push(other());
  keeper.heed(wanted("draining", clock.nowMs()));
  clock.advance(24 * 3_600_000);
  await keeper.step();
  keeper.heed(wanted("draining", clock.nowMs(), { timeoutMs: 60_000 }));
  clock.advance(59_999);
  await keeper.step();
  expect(released).toEqual([]);
  clock.advance(1);
  await keeper.step();
  expect(released).toHaveLength(1);
});

test("nothing is stopped for a wish that was taken back while Redis was asked", async () => {
  const { keeper, vms, released, live } = openKeeper(wanted("evacuating", 6));
  vms.push({ pool: "default" });
  live.push(other());
  const step = keeper.step();
  keeper.heed(wanted("open", 7));
  await step;
  expect(released).toEqual([]);
});
