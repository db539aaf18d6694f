import type { Command } from "commander";
import type { HostDetail } from "../../contract/host-view.ts";
import { pause } from "../../runtime/bounded-wait.ts";
import { CliError, UsageError } from "../cli-error.ts";
import type { ApiClient } from "../client/api-client.ts";
import { EXIT } from "../exit-codes.ts";
import { newCommand } from "../new-command.ts";
import { durationMs } from "../number-option.ts";
import { renderAdmission } from "../render/host-text.ts";
import { printable } from "../render/text-width.ts";
import { jsonDocument, openSession } from "../session.ts";
import type { CliContext } from "../terminal.ts";
import { limitedSignal } from "../wait-limit.ts";

const LOOK_EVERY_MS = 1_000;

interface WishOptions {
  readonly note?: string;
}

interface WaitOptions extends WishOptions {
  readonly evacuateAfter?: string;
  readonly wait?: boolean;
  readonly timeout?: number;
  readonly yes?: boolean;
}

/** `drover hosts cordon|drain|evacuate|resume HOST`. */
export function hostWishCommands(context: CliContext): readonly Command[] {
  return [cordonCommand(context), drainCommand(context), evacuateCommand(context), resumeCommand(context)];
}

function cordonCommand(context: CliContext): Command {
  return wishCommand("cordon", {
    summary: "let a host take no new VM",
    about:
      "Lets a host take no new VM; those that it has run on. It stays so, also when its worker is started anew, until `drover hosts resume`.",
    examples: ['drover hosts cordon host-a --note "memory errors"'],
  }).action(async (id: string, options: WishOptions, command: Command) => {
    const { api, json } = openSession(command, context);
    await tell(context, await api.wishOfHost(id, "cordon", options), json);
  });
}

function resumeCommand(context: CliContext): Command {
  return wishCommand("resume", {
    summary: "let a host take VMs again",
    about: "Lets a host take VMs again, after cordon, drain or evacuate.",
    examples: ["drover hosts resume host-a"],
  }).action(async (id: string, options: WishOptions, command: Command) => {
    const { api, json } = openSession(command, context);
    await tell(context, await api.wishOfHost(id, "resume", options), json);
  });
}

function drainCommand(context: CliContext): Command {
  return wishCommand("drain", {
    summary: "no new VMs, and wait for the last one to end",
    about:
      "Lets a host take no new VM until those that it has have ended by themselves; then its worker can be stopped. " +
      "What has not ended by --evacuate-after is evacuated.",
    examples: ["drover hosts drain host-a --wait", "drover hosts drain host-a --evacuate-after 30m --wait"],
  })
    .option("--evacuate-after <duration>", "stop what is left after this time, to run elsewhere", checkedDuration)
    .option("-w, --wait", "until the host has no VM")
    .option("--timeout <duration>", "wait no longer than this (exit code 5)", durationMs)
    .action(async (id: string, options: WaitOptions, command: Command) => {
      const { api, json } = openSession(command, context, limitedSignal(context.signal, options.timeout));
      const query = { note: options.note, timeout: options.evacuateAfter };
      await tellWhenDone(context, api, await api.wishOfHost(id, "drain", query), { ...options, json });
    });
}

function evacuateCommand(context: CliContext): Command {
  return wishCommand("evacuate", {
    summary: "move a host's VMs to other hosts",
    about:
      "Stops a host's VMs and puts them back into the queue, to be launched elsewhere from their beginning; no attempt is used. " +
      "A VM that no other live host could run stays until one has come. The host takes no new VM until `drover hosts resume`.",
    examples: ["drover hosts evacuate host-a --wait", "drover hosts evacuate host-a --yes --wait --timeout 10m"],
  })
    .option("-w, --wait", "until the host has no VM")
    .option("--timeout <duration>", "wait no longer than this (exit code 5)", durationMs)
    .option("-y, --yes", "do not ask first")
    .action(async (id: string, options: WaitOptions, command: Command) => {
      const { api, json } = openSession(command, context, limitedSignal(context.signal, options.timeout));
      if (options.yes !== true) await confirm(await api.host(id), context);
      const query = { note: options.note };
      await tellWhenDone(context, api, await api.wishOfHost(id, "evacuate", query), { ...options, json });
    });
}

function wishCommand(name: string, texts: Parameters<typeof newCommand>[1]): Command {
  return newCommand(name, texts).argument("<host>", "the host's id").option("--note <text>", "why, for others to see");
}

/** Refused here already when it is no duration; the API reads the text itself. */
function checkedDuration(text: string): string {
  durationMs(text);
  return text;
}

/** What its guests have done so far is lost with their machines. */
async function confirm(host: HostDetail, { terminal, signal }: CliContext): Promise<void> {
  if (host.vms === 0) return;
  const vms = host.vms === 1 ? "its VM" : `its ${host.vms} VMs`;
  const answer = await terminal.ask(
    `Stop ${vms} on ${printable(host.id)}, to begin anew on other hosts? [y/N] `,
    signal,
  );
  if (answer === undefined) {
    throw new UsageError(`to evacuate host ${host.id} must be confirmed, and nobody is here to ask`, {
      hint: "Say that you mean it with --yes.",
    });
  }
  if (!/^y(es)?$/i.test(answer.trim())) throw new CliError("nothing was done", { code: "not_confirmed" });
}

function tell({ terminal }: CliContext, host: HostDetail, json: boolean): Promise<void> {
  return terminal.out(json ? jsonDocument(host) : `${renderAdmission(host)}\n`);
}

async function tellWhenDone(
  context: CliContext,
  api: ApiClient,
  host: HostDetail,
  { wait, json }: { readonly wait?: boolean; readonly json: boolean },
): Promise<void> {
  if (wait !== true) return tell(context, host, json);
  await tell(context, await untilDone(context, api, host), json);
}

/** Looks at the host until it has no VM, and says whenever something has changed. */
async function untilDone({ terminal }: CliContext, api: ApiClient, first: HostDetail): Promise<HostDetail> {
  let said = "";
  for (let host = first; ; host = await api.host(first.id)) {
    if (host.admission.done) return host;
    const problem = problemOf(host);
    if (problem !== undefined) throw problem;
    const text = renderAdmission(host);
    if (text !== said) terminal.err(`${text}\n`);
    said = text;
    const { signal } = api.target;
    await pause(LOOK_EVERY_MS, signal);
  }
}

/** Why there is no use in waiting on. */
function problemOf({ id, status, admission }: HostDetail): CliError | undefined {
  if (admission.state === "open" || admission.state === "cordoned") {
    return new CliError(`${admission.by ?? "somebody"} wants host ${id} otherwise meanwhile: ${admission.state}`, {
      code: "host_state",
      exitCode: EXIT.failed,
    });
  }
  if (status !== "lost") return undefined;
  return new CliError(`host ${id} is lost: nobody is there to end its VMs`, {
    code: "host_state",
    exitCode: EXIT.failed,
    hint: `Is it gone for good? Then: drover hosts forget ${id}`,
  });
}
