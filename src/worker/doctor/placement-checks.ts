import type { Check } from "./check.ts";
import type { PlacementFacts } from "./placement-facts.ts";

const GIB = 1024 ** 3;

/** Pure: whether the machine holds what it offers, and what it offers to requests that name it. */
export function placementChecks(facts: PlacementFacts): readonly Check[] {
  return [memoryCheck(facts), ...classChecks(facts), ...labelCheck(facts)];
}

function memoryCheck(facts: PlacementFacts): Check {
  const { totalBytes, maxVms, ownSize } = facts;
  const needs = gib(ownSize.bytes);
  if (ownSize.holds === 0 || ownSize.bytes > totalBytes) {
    const todo = "Lower MANAGER_QEMU_MEMORY_SIZE or DROVER_MEMORY_RESERVE; until then no such VM runs here.";
    return problem("memory", `a VM has ${needs} and this machine ${given(facts)}`, todo);
  }
  const holds = ownSize.holds ?? Math.floor(totalBytes / Math.max(ownSize.bytes, 1));
  if (maxVms > 0 && holds < maxVms) {
    const text = `${maxVms} VMs of ${needs} are more than this machine holds: ${given(facts)}`;
    return ownSize.holds === null
      ? warning("memory", text, "Lower MANAGER_MAX_VMS, or unset DROVER_MEMORY_RESERVE=off: the kernel kills VMs then.")
      : warning(
          "memory",
          text,
          `It takes ${holds} at most, whatever MANAGER_MAX_VMS says. Lower the one or the other.`,
        );
  }
  return ok("memory", maxVms > 0 ? `memory for ${maxVms} VMs of ${needs}` : `memory for ${holds} VMs of ${needs}`);
}

function classChecks(facts: PlacementFacts): readonly Check[] {
  const { classes } = facts;
  if (classes.length === 0) return [];
  const tooLarge = classes.filter(({ holds }) => holds === 0);
  if (tooLarge.length > 0) {
    const names = tooLarge.map(({ name, bytes }) => `${name} (${gib(bytes)})`).join(", ");
    const todo = "Take them out of DROVER_MEMORY_CLASSES: this machine does not offer them.";
    return [problem("memory_classes", `too large for this machine, ${given(facts)}: ${names}`, todo)];
  }
  const shown = classes.map(
    ({ name, bytes, holds }) => `${name} ${gib(bytes)}${holds === null ? "" : ` (${holds} VMs)`}`,
  );
  return [ok("memory_classes", `memory classes: ${shown.join(", ")}`)];
}

function labelCheck({ labels }: PlacementFacts): readonly Check[] {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  return pairs.length === 0 ? [] : [ok("host_labels", `labels of this host: ${pairs.join(", ")}`)];
}

function given({ totalBytes, reservedBytes }: PlacementFacts): string {
  const has = gib(totalBytes);
  return reservedBytes === 0 ? `has ${has}` : `has ${has}, ${gib(reservedBytes)} of them for itself`;
}

function gib(bytes: number): string {
  return `${(bytes / GIB).toFixed(1)} GiB`;
}

function ok(id: string, text: string): Check {
  return { id, area: "host", status: "ok", text };
}

function warning(id: string, text: string, todo: string): Check {
  return { id, area: "host", status: "warning", text, todo };
}

function problem(id: string, text: string, todo: string): Check {
  return { id, area: "host", status: "problem", text, todo };
}
