import type { z } from "zod";
import { HostLabelName, HostLabelValue, MemoryClass } from "../../contract/placement.ts";
import type { MemoryClassSize } from "../config-shape.ts";
import { memorySize, memorySizeBytes, sizeBytes } from "./value-types.ts";
import { ValueRefused, type ValueType, variable } from "./variable.ts";

/** A host has a few; the VMs of each combination of labels and class wait in a queue of their own. */
const PAIRS_MAX = 20;

/** `name=value` between commas, each name once; blanks around them are dropped. */
function readPairs(text: string): readonly (readonly [string, string])[] {
  const pairs = text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map((part) => {
      const equals = part.indexOf("=");
      if (equals < 1) throw new ValueRefused(`${JSON.stringify(part)} has no name and "="`);
      return [part.slice(0, equals).trim(), part.slice(equals + 1).trim()] as const;
    });
  if (pairs.length > PAIRS_MAX) throw new ValueRefused(`has ${pairs.length} pairs, and ${PAIRS_MAX} are the most`);
  const names = pairs.map(([name]) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new ValueRefused(`has ${JSON.stringify(twice)} twice`);
  return pairs;
}

/** Refuses what the schema of a request would refuse as well: a host that offers it could never be asked for it. */
function checkBy(schema: z.ZodType, text: string): void {
  const problem = schema.safeParse(text).error?.issues[0];
  if (problem !== undefined) throw new ValueRefused(`${JSON.stringify(text)}: ${problem.message}`);
}

const memoryClasses: ValueType<readonly MemoryClassSize[]> = {
  allowed: "empty, or name=size pairs between commas, for example small=2G,large=16G",
  brief: "name=size pairs",
  parse: (text) =>
    readPairs(text).map(([name, size]) => {
      checkBy(MemoryClass, name);
      // With a unit: QEMU reads a bare number as MiB, but as bytes for a confidential VM.
      if (/\d$/.test(size)) throw new ValueRefused(`the size of ${name} has no unit`);
      return { name, size: memorySize.parse(size), bytes: memorySizeBytes(size, "B") ?? 0 };
    }),
};

const hostLabels: ValueType<Readonly<Record<string, string>>> = {
  allowed: "empty, or name=value pairs between commas, for example zone=a,disk=ssd",
  brief: "name=value pairs",
  parse(text) {
    const pairs = readPairs(text);
    for (const [name, value] of pairs) {
      checkBy(HostLabelName, name);
      checkBy(HostLabelValue, value);
    }
    return Object.fromEntries(pairs);
  },
};

const memoryReserve: ValueType<number | "auto" | "off"> = {
  allowed: `auto, off, or ${sizeBytes.allowed}`,
  brief: "auto, off or a size",
  parse: (text) => (text === "auto" || text === "off" ? text : sizeBytes.parse(text)),
};

/** What a host offers beside its pools, and how much of its memory VMs may take. */
export const PLACEMENT_VARIABLES = {
  memoryReserve: variable({
    name: "DROVER_MEMORY_RESERVE",
    type: memoryReserve,
    default: "auto",
    group: "placement",
    doc: "Memory of this host that no VM gets; a VM is fetched only while the rest holds it. `auto`: 1 GiB, or an eighth of a smaller host, and the only VM of a host may have all of it. `off`: memory is not counted.",
  }),
  memoryClasses: variable({
    name: "DROVER_MEMORY_CLASSES",
    type: memoryClasses,
    default: "",
    emptyMeans: "none: every VM has MANAGER_QEMU_MEMORY_SIZE",
    group: "placement",
    doc: "Sizes of memory that requests may ask for by name (`memoryClass`).",
  }),
  hostLabels: variable({
    name: "DROVER_HOST_LABELS",
    type: hostLabels,
    default: "",
    emptyMeans: "none",
    group: "placement",
    doc: "Labels of this host that requests may ask for (`hostLabels`).",
  }),
};
