import { expect, test } from "vitest";
import { DroverError } from "../../../src/contract/errors.ts";
import { loadConfig } from "../../../src/runtime/config/load-config.ts";

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    loadConfig(env);
    return [];
  } catch (error) {
    if (!(error instanceof DroverError)) throw error;
    return (error.problems ?? []).map(({ field, message }) => `${field}: ${message}`);
  }
}

test("classes and labels are read, blanks around them dropped", () => {
  const { placement } = loadConfig({
    DROVER_MEMORY_CLASSES: "small=512M, large=16G",
    DROVER_HOST_LABELS: "zone=a, disk=ssd",
    DROVER_MEMORY_RESERVE: "2G",
  }).config;
  expect(placement).toEqual({
    memoryReserve: 2 * 2 ** 30,
    memoryClasses: [
      { name: "small", size: "512M", bytes: 2 ** 29 },
      { name: "large", size: "16G", bytes: 2 ** 34 },
    ],
    hostLabels: { zone: "a", disk: "ssd" },
  });
  expect(loadConfig({}).config.placement).toEqual({ memoryReserve: "auto", memoryClasses: [], hostLabels: {} });
  expect(loadConfig({ DROVER_MEMORY_RESERVE: "off" }).config.placement.memoryReserve).toBe("off");
});

test.each([
  ["DROVER_MEMORY_CLASSES", "small"],
  ["DROVER_MEMORY_CLASSES", "=2G"],
  ["DROVER_MEMORY_CLASSES", "small=2048"],
  ["DROVER_MEMORY_CLASSES", "small=2X"],
  ["DROVER_MEMORY_CLASSES", "Small=2G"],
  ["DROVER_MEMORY_CLASSES", "a+b=2G"],
  ["DROVER_MEMORY_CLASSES", "small=2G,small=3G"],
  ["DROVER_HOST_LABELS", "zone"],
  ["DROVER_HOST_LABELS", "zone="],
  ["DROVER_HOST_LABELS", "Zone=a"],
  ["DROVER_HOST_LABELS", "zone=a+b"],
  ["DROVER_HOST_LABELS", Array.from({ length: 21 }, (_, i) => `l${i}=x`).join(",")],
  ["DROVER_MEMORY_RESERVE", "much"],
])("%s=%s is refused with the way out", (name, value) => {
  expect(problemsOf({ [name]: value })).toEqual([expect.stringMatching(new RegExp(`^${name}: .*allowed: .*unset`))]);
});

test("a class that QEMU would refuse is refused at the start, with all other problems", () => {
  const problems = problemsOf({ DROVER_MEMORY_CLASSES: "small=1G,large=64G", DROVER_HOST_LABELS: "zone" });
  expect(problems).toEqual([
    expect.stringContaining("DROVER_HOST_LABELS"),
    expect.stringMatching(/^DROVER_MEMORY_CLASSES: "large=64G" is not below MANAGER_QEMU_MAX_MEMORY, which is 30G/),
  ]);
  expect(problemsOf({ DROVER_MEMORY_CLASSES: "all=30G" })).toHaveLength(1);
  expect(problemsOf({ DROVER_MEMORY_CLASSES: "all=30G", MANAGER_QEMU_MEMORY_SLOTS: "0" })).toEqual([]);
});
