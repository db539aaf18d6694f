import type { Command } from "commander";
import { isFinal } from "../../contract/vm-state.ts";
import { CliError } from "../cli-error.ts";
import type { VmAfterAction } from "../client/api-client.ts";
import { VmFollower } from "../client/follow-vms.ts";
import { resolveVmIds } from "../client/vm-id.ts";
import { inOrder } from "../in-order.ts";
import { newCommand } from "../new-command.ts";
import { durationMs } from "../number-option.ts";
import { printError } from "../print-error.ts";
import { paintState } from "../render/paint.ts";
import { jsonLine, openSession } from "../session.ts";
import type { CliContext } from "../terminal.ts";
import { limitedSignal } from "../wait-limit.ts";

const CALLS_AT_ONCE = 8;

interface RmOptions {
  readonly wait?: boolean;
  readonly timeout?: number;
}

/** `drover rm ID...`. */
export function rmCommand(context: CliContext): Command {
  return newCommand("rm", {
    summary: "remove VMs, running or waiting",
    about:
      "Removes VMs. One that runs is stopped (ACPI power button first, then harder), one that waits leaves the queue. " +
      "A removed VM never runs again; its record stays and `drover get` still shows it. Removing twice is no error.",
    examples: ["drover rm 3f2a91c4", "drover rm --wait 3f2a91c4 77b01d20", "drover rm $(drover ls -q --label batch=7)"],
  })
    .alias("remove")
    .argument("<id...>", "ids, or their first characters")
    .option("-w, --wait", "until each has ended: no process, port, file or secret is left")
    .option("--timeout <duration>", "wait no longer than this (exit code 5)", durationMs)
    .action(async (texts: readonly string[], options: RmOptions, command: Command) => {
      const signal = limitedSignal(context.signal, options.timeout);
      const session = openSession(command, context, signal);
      const ids = [...new Set(await resolveVmIds(session.api, texts))];
      const show = (vm: VmAfterAction) => showState(vm, session.json, context);
      const follower = options.wait === true ? await VmFollower.open(session.api, { onEnd: show }) : undefined;
      const failed = await removeAll(ids, session.api.remove.bind(session.api), context, session.json, async (vm) => {
        if (follower === undefined || isFinal(vm.state)) await show(vm);
        else await follower.add(vm.id, { look: true });
      });
      await follower?.untilAllEnded();
      if (failed !== undefined) context.setExitCode(failed.exitCode);
    });
}

/** One that cannot be removed does not spare the others; the first such error gives the exit code. */
async function removeAll(
  ids: readonly string[],
  remove: (id: string) => Promise<VmAfterAction>,
  context: CliContext,
  json: boolean,
  onRemoved: (vm: VmAfterAction) => Promise<void>,
): Promise<CliError | undefined> {
  let failed: CliError | undefined;
  const tried = inOrder(ids, CALLS_AT_ONCE, async (id) => remove(id).catch((error: unknown) => asCliError(error)));
  for await (const outcome of tried) {
    if (!(outcome instanceof CliError)) {
      await onRemoved(outcome);
      continue;
    }
    if (ids.length === 1) throw outcome;
    printError(context.terminal, outcome, { json });
    failed ??= outcome;
  }
  return failed;
}

function asCliError(error: unknown): CliError {
  if (error instanceof CliError) return error;
  throw error;
}

function showState(vm: VmAfterAction, json: boolean, { terminal }: CliContext): Promise<void> {
  return terminal.out(json ? jsonLine(vm) : `${vm.id}  ${paintState(terminal.paint, vm.state)}\n`);
}
