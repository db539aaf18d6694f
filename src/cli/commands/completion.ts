import { Argument, type Command, type Option } from "commander";
import { CAUSE_CODES } from "../../contract/causes.ts";
import { VM_EVENT_TYPES } from "../../contract/vm-event.ts";
import { PRIORITY_CLASSES } from "../../contract/vm-request.ts";
import { VM_STATES } from "../../contract/vm-state.ts";
import { bashScript, commandWords, zshScript } from "../completion-script.ts";
import { newCommand } from "../new-command.ts";
import type { CliContext } from "../terminal.ts";

const SHELLS = { bash: bashScript, zsh: zshScript } as const;
type Shell = keyof typeof SHELLS;

const WORDS: Readonly<Record<string, readonly string[]>> = {
  "--state": VM_STATES,
  "--cause": CAUSE_CODES,
  "--type": VM_EVENT_TYPES,
  "--priority": PRIORITY_CLASSES,
  "--on-reboot": ["continue", "end"],
  "--probe": ["none", "tcp", "console:"],
};

/** `drover completion bash|zsh`. */
export function completionCommand(context: CliContext, program: () => Command): Command {
  return newCommand("completion", {
    summary: "print a completion script for bash or zsh",
    examples: [
      "source <(drover completion bash)        # now; in ~/.bashrc: always",
      "source <(drover completion zsh)         # in ~/.zshrc, after compinit",
    ],
  })
    .addArgument(new Argument("<shell>", "bash or zsh").choices(Object.keys(SHELLS)))
    .action((shell: Shell) => context.terminal.out(SHELLS[shell](commandWords(program(), wordsOf))));
}

function wordsOf(option: Option): readonly string[] {
  return option.argChoices ?? WORDS[option.long ?? ""] ?? [];
}
