#!/usr/bin/env node
import { DROVER_VERSION } from "../runtime/version.ts";
import { Interrupted } from "./interrupted.ts";
import { processTerminal } from "./process-terminal.ts";
import { runProgram } from "./run-program.ts";

/** Forgotten timers and half-open connections may hold the process for this long after the command is done. */
const LEFTOVERS_MS = 200;

/**
 * One wish to stop may come as several signals: a terminal and npm both pass Ctrl-C on, and the kernel tells of a parent's
 * death once for each of its threads. Only what comes later is a second wish.
 */
const SAME_WISH_MS = 1_000;

const stop = new AbortController();
let firstSignalAtMs: number | undefined;
let onSecondSignal: (() => void) | undefined;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    const reason = new Interrupted(signal);
    firstSignalAtMs ??= performance.now();
    if (performance.now() - firstSignalAtMs <= SAME_WISH_MS) return stop.abort(reason); // once more changes nothing
    if (onSecondSignal === undefined) process.exit(reason.exitCode); // asked twice: at once
    onSecondSignal();
    onSecondSignal = undefined;
    firstSignalAtMs = performance.now();
  });
}

const exitCode = await runProgram(
  {
    terminal: processTerminal(process),
    env: process.env,
    signal: stop.signal,
    now: Date.now,
    onSecondSignal: (listener) => {
      onSecondSignal = listener;
    },
    setExitCode: (code) => {
      process.exitCode = code;
    },
  },
  process.argv.slice(2),
  { version: DROVER_VERSION, node: process.versions.node },
);
if (exitCode !== undefined) process.exitCode = exitCode;
setTimeout(() => process.exit(), LEFTOVERS_MS).unref();
