import type { Logger } from "pino";
import { DroverError } from "../contract/errors.ts";
import { pause, waitUntil } from "../runtime/bounded-wait.ts";

/** The steps of a launch and its end at which a worker can be made to die (L1 to L12 of the fault matrix). */
export const FAIL_POINTS = [
  "L1-fetched",
  "L2-directory",
  "L3-intent",
  "L4-port",
  "L5-secrets",
  "L6-guest-files",
  "L7-spawned",
  "L8-identified",
  "L9-answering",
  "L10-running",
  "L11-stopping",
  "L12a-planned",
  "L12b-dead",
  "L12c-emptied",
  "L12d-published",
  "L12e-settled",
  "A1-claimed",
  "A2-attached",
] as const;
export type FailPoint = (typeof FAIL_POINTS)[number];

const ACTIONS = ["kill", "stop", "abort", "throw", "hold", "pause", "busy"] as const;
type Action = (typeof ACTIONS)[number];

interface Trap {
  readonly point: string;
  /** Only for the VM with this name in its request. */
  readonly vmName: string | undefined;
  readonly action: Action;
  /** The how-manieth time it acts; 0: every time. */
  readonly nth: number;
  seen: number;
}

/** How long `hold` and `busy` last at most: a test that forgot them ends too. */
const HOLD_MAX_MS = 60_000;
/** Long enough for a test to do something meanwhile. */
const PAUSE_MS = 1_000;

/**
 * Places in the code where a test makes the worker die, freeze or fail: `DROVER_FAILPOINT=L7-spawned:kill`,
 * `L3-intent@name:throw:2` (the VM of that name, the second time), several between commas. Inert without the variable.
 */
export class FailPoints {
  readonly #traps: readonly Trap[];
  readonly #logger: Logger;
  readonly #released = new AbortController();

  /** Throws `config_invalid` for a point or an action that does not exist. */
  constructor(spec: string, logger: Logger) {
    this.#traps = spec === "" ? [] : spec.split(",").map(parseTrap);
    this.#logger = logger;
    if (spec !== "") logger.warn({ spec }, "fail points are set: this worker is made to fail, for tests only");
  }

  /** Ends every `hold`. */
  release(): void {
    this.#released.abort();
  }

  async reach(point: FailPoint, vmName: string | undefined): Promise<void> {
    for (const trap of this.#traps) {
      if (trap.point !== point || (trap.vmName !== undefined && trap.vmName !== vmName)) continue;
      trap.seen += 1;
      if (trap.nth !== 0 && trap.seen !== trap.nth) continue;
      this.#logger.warn({ point, action: trap.action }, "fail point reached");
      await this.#act(trap.action, point);
    }
  }

  async #act(action: Action, point: string): Promise<void> {
    switch (action) {
      case "kill":
        process.kill(process.pid, "SIGKILL");
        return this.#hold(); // the signal needs a moment
      case "stop":
        process.kill(process.pid, "SIGSTOP");
        return;
      case "abort":
        return process.abort();
      case "throw":
        throw new Error(`fail point ${point}`);
      case "hold":
        return this.#hold();
      case "pause":
        await pause(PAUSE_MS, this.#released.signal).catch(() => undefined); // released: it goes on at once
        return;
      case "busy": {
        const endMs = performance.now() + HOLD_MAX_MS;
        while (performance.now() < endMs && !this.#released.signal.aborted);
        return;
      }
    }
  }

  async #hold(): Promise<void> {
    const { aborted } = this.#released.signal;
    if (aborted) return;
    await waitUntil(() => this.#released.signal.aborted, { timeoutMs: HOLD_MAX_MS, intervalMs: 20 });
  }
}

function parseTrap(text: string): Trap {
  const [place = "", action = "", nth = "0"] = text.split(":");
  const [point = "", vmName] = place.split("@");
  const known = (FAIL_POINTS as readonly string[]).includes(point);
  if (!known || !(ACTIONS as readonly string[]).includes(action) || !/^\d+$/.test(nth)) {
    const points = FAIL_POINTS.join(", ");
    throw new DroverError(
      "config_invalid",
      `DROVER_FAILPOINT: "${text}" is not point[@name]:action[:nth]; points: ${points}; actions: ${ACTIONS.join(", ")}`,
    );
  }
  return { point, vmName, action: action as Action, nth: Number(nth), seen: 0 };
}
