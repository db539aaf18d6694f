import { askedPool, hostPool, parsePlacementPool, type Unmet } from "../contract/placement.ts";
import type { SubmitWarning } from "../contract/waiting.ts";
import { type HostDescription, unmetBy } from "../queue/host-description.ts";
import type { KnownHost } from "../queue/host-registry.ts";

/** A live host that meets all needs of a pool's VMs. */
export type FittingHost = KnownHost & { readonly description: HostDescription };

export interface Fit {
  /** Live hosts that meet all needs, whether or not they have room. */
  readonly live: readonly FittingHost[];
  /** Why there is none; undefined where there is one. */
  readonly warning: SubmitWarning | undefined;
}

/** The live hosts that meet the needs of a pool's VMs. Pure. */
export function hostsThatFit(hosts: readonly KnownHost[], pool: string): Fit {
  const described = hosts.flatMap((host) =>
    host.description === undefined ? [] : [{ ...host, description: host.description }],
  );
  const fitting = described.filter(({ description }) => unmetBy(description, pool) === undefined);
  const live = fitting.filter(({ lease }) => lease !== undefined);
  if (live.length > 0) return { live, warning: undefined };
  const none = (code: SubmitWarning["code"], message: string): Fit => ({ live, warning: { code, message } });
  if (fitting.length > 0) return none("no_live_host", silentText(fitting.length));
  const alive = described.filter(({ lease }) => lease !== undefined);
  if (alive.length === 0) return none("no_live_host", "There is no live host; start a worker.");
  return none("no_host_fits", unmetText(pool, new Set(alive.map(({ description }) => unmetBy(description, pool)))));
}

function silentText(count: number): string {
  return count === 1
    ? "The one host that could run it shows no sign of life."
    : `The ${count} hosts that could run it show no sign of life.`;
}

/** What is missing, of those hosts that come nearest: one that is not of the pool says nothing of the other needs. */
function unmetText(pool: string, unmet: ReadonlySet<Unmet | undefined>): string {
  const { tee, memoryClass, hostLabels = {} } = parsePlacementPool(pool) ?? {};
  const asked = askedPool(pool);
  const labels = Object.entries(hostLabels).map(([name, value]) => `${name}=${value}`);
  const texts: readonly (readonly [Unmet, string])[] = [
    ["host_labels", `the host labels ${labels.join(", ")}`],
    ["memory_class", `the memory class ${memoryClass}`],
    ["memory", "memory for one VM (MANAGER_QEMU_MEMORY_SIZE)"],
    ["gpu", "a GPU"],
    ["tee", `the TEE ${tee}`],
  ];
  const missing = texts.filter(([need]) => unmet.has(need)).map(([, text]) => text);
  if (missing.length > 0)
    return `No live host of the pool ${asked} has all that it needs; missing: ${missing.join(", ")}.`;
  if (unmet.has("unknown")) return `The hosts are of a version that does not know what ${pool} asks for.`;
  return asked.startsWith(hostPool(""))
    ? "The host that it is bound to is not live."
    : `No live host serves the pool ${asked}.`;
}
