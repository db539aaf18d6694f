import { readFileSync } from "node:fs";
import { afterEach, expect, test, vi } from "vitest";
import { isAlive, isStopped, type ProcessIdentity, readStartTime } from "../../../src/runtime/process-identity.ts";

vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>();
  return { ...fs, readFileSync: vi.fn(fs.readFileSync) };
});

afterEach(() => void vi.restoreAllMocks());

const self = (): ProcessIdentity => ({ pid: process.pid, startTimeTicks: readStartTime(process.pid) ?? 0 });

/** From here on /proc is read with this error. */
function failWith(code: string): void {
  vi.mocked(readFileSync).mockImplementation(() => {
    throw Object.assign(new Error(code), { code });
  });
}

test.each(["EMFILE", "ENFILE", "ENOMEM", "EIO"])(
  "a live process of which nothing can be read (%s) is not taken for dead: its VM would be given away",
  (code) => {
    const identity = self();
    failWith(code);
    expect(isAlive(identity)).toBe(true);
    expect(isStopped(identity)).toBe(false);
  },
);

test("nor is one that does not exist taken for alive then", () => {
  failWith("EMFILE");
  expect(isAlive({ pid: 2 ** 22 + 1, startTimeTicks: 1 })).toBe(false); // above the highest pid that Linux gives
});

test.each(["ENOENT", "ESRCH"])("one that has gone is dead (%s)", (code) => {
  const identity = self();
  failWith(code);
  expect(isAlive(identity)).toBe(false);
});
