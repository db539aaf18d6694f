import { InvalidArgumentError } from "commander";
import { GoDurationError, parseGoDurationMs } from "../contract/go-duration.ts";

/** Reads a whole number within bounds. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Give a whole number from ${min} to ${max}.`);
  };
}

/** Reads a span above zero, as requests have it: "90s", "10m", "1h30m". */
export function durationMs(text: string): number {
  try {
    const ms = parseGoDurationMs(text);
    if (ms > 0) return ms;
  } catch (error) {
    if (!(error instanceof GoDurationError)) throw error;
  }
  throw new InvalidArgumentError('Give a time above zero, like "90s", "10m" or "1h30m".');
}
