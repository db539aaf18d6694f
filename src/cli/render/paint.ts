import type { VmState } from "../../contract/vm-state.ts";

type Colour = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";
export type Paint = Readonly<Record<Colour, (text: string) => string>>;

const CODES: Readonly<Record<Colour, readonly [number, number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
};

/** Colours, or the same functions without any effect. */
export function createPaint(enabled: boolean): Paint {
  const make =
    ([open, close]: readonly [number, number]) =>
    (text: string) =>
      enabled && text !== "" ? `\u001b[${open}m${text}\u001b[${close}m` : text;
  return {
    bold: make(CODES.bold),
    dim: make(CODES.dim),
    red: make(CODES.red),
    green: make(CODES.green),
    yellow: make(CODES.yellow),
    cyan: make(CODES.cyan),
  };
}

/** Colours are for screens; https://no-color.org and a dumb terminal switch them off, FORCE_COLOR on. */
export function wantsColour(isScreen: boolean, env: Readonly<Record<string, string | undefined>>): boolean {
  if ((env["NO_COLOR"] ?? "") !== "") return false;
  if ((env["FORCE_COLOR"] ?? "") !== "") return env["FORCE_COLOR"] !== "0";
  return isScreen && env["TERM"] !== "dumb";
}

const STATE_COLOURS: Readonly<Record<VmState, Colour | undefined>> = {
  queued: undefined,
  preparing: "cyan",
  starting: "cyan",
  running: "green",
  ready: "green",
  stopping: "yellow",
  retrying: "yellow",
  completed: "green",
  removed: "dim",
  expired: "yellow",
  failed: "red",
};

/** A state's name in its colour. */
export function paintState(paint: Paint, state: VmState, text: string = state): string {
  const colour = STATE_COLOURS[state];
  return colour === undefined ? text : paint[colour](text);
}
