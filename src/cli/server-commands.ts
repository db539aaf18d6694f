import { type Command, Option } from "commander";
import { TEE_NEEDS, type TeeNeed } from "../contract/placement.ts";
import { choice } from "./choice.ts";
import { newCommand } from "./new-command.ts";
import type { GlobalOptions } from "./session.ts";
import type { CliContext } from "./terminal.ts";

/**
 * The commands that run something on this machine. Each loads its part when it is called: whoever lists VMs does not
 * wait for a server's modules.
 */
export function serverCommands(context: CliContext): readonly Command[] {
  return [
    upCommand(context),
    apiCommand(context),
    workerCommand(context),
    configCommand(context),
    explainCommand(context),
    doctorCommand(context),
  ];
}

const BY_ENVIRONMENT =
  "It is configured by environment variables: `drover config` shows them, docs/configuration.md explains them.";

function upCommand(context: CliContext): Command {
  return server("up", {
    summary: "run everything here: Redis, API, worker, dashboard",
    about:
      "Runs everything on this machine until Ctrl-C: a private redis-server (unless DROVER_REDIS_URL or REDIS_URL is set), " +
      `the API, one worker and the dashboard, all on loopback. ${BY_ENVIRONMENT}`,
    examples: [
      "drover up",
      "DROVER_STATE_DIR=/tmp/try MANAGER_HTTP_PORT=8080 drover up",
      "MANAGER_QEMU_ENABLE_KVM=false drover up   # without KVM",
      "drover up --stop-vms   # at Ctrl-C: stop the VMs too",
    ],
  })
    .option("--stop-vms", "at the end stop the VMs; without it they run on, and the next `drover up` takes them over")
    .action(async ({ stopVms }: StopFlags) => {
      return (await import("./up.ts")).runUp(context, stopVms === true ? "stop" : "keep");
    });
}

function apiCommand(context: CliContext): Command {
  return server("api", {
    summary: "run the API and the dashboard",
    about: `Runs the HTTP API and the dashboard until SIGTERM. ${BY_ENVIRONMENT}`,
    examples: ["DROVER_REDIS_URL=redis://queue.internal:6379 drover api"],
  }).action(async () => (await import("./serve-api.ts")).runApi(context));
}

function workerCommand(context: CliContext): Command {
  return server("worker", {
    summary: "run the worker of this host",
    about:
      "Runs the worker of this host until SIGTERM: it fetches VMs from the queue, launches and watches them. At SIGTERM it " +
      `ends within 10 s and its VMs run on: the next worker of this host takes them over. ${BY_ENVIRONMENT}`,
    examples: [
      "DROVER_REDIS_URL=redis://queue.internal:6379 MANAGER_MAX_VMS=4 drover worker",
      "drover worker --drain   # at SIGTERM: wait for the VMs to end",
    ],
  })
    .addOption(new Option("--drain", "at SIGTERM fetch nothing more and end with the last VM").conflicts("stopVms"))
    .option("--stop-vms", "at SIGTERM stop the VMs; they go back to the queue, no attempt used")
    .action(async ({ drain, stopVms }: StopFlags) => {
      const mode = drain === true ? "drain" : stopVms === true ? "stop" : "keep";
      return (await import("./serve-worker.ts")).runWorker(context, mode);
    });
}

interface StopFlags {
  readonly drain?: boolean;
  readonly stopVms?: boolean;
}

function configCommand(context: CliContext): Command {
  return server("config", {
    summary: "show the configuration in force, and check it",
    about:
      "Shows every variable with its value and where that comes from, secrets masked. Lists all problems at once and then " +
      "ends with exit code 2.",
    examples: ["drover config", "drover config --changed", "env $(grep -v '^#' cocos-manager.env) drover config"],
  })
    .option("--changed", "only what is not the default")
    .action(async (options: { readonly changed?: boolean }, command: Command) => {
      const { json } = command.optsWithGlobals<GlobalOptions>();
      return (await import("./show-config.ts")).showConfig(context, {
        json: json === true,
        changed: options.changed === true,
      });
    });
}

function explainCommand(context: CliContext): Command {
  return server("explain", {
    summary: "print the QEMU command that a VM would get here",
    about:
      "Prints the full QEMU command that a VM would get with this configuration: Cocos's arguments first, then drover's own. " +
      "With --cocos and a case file: exactly the arguments that Cocos's own code makes of it.",
    examples: [
      "drover explain",
      "drover explain --tee snp   # as on a host with SEV-SNP",
      "drover explain --cocos --case case.json --json",
    ],
  })
    .option("--cocos", "what Cocos does, without drover's layer; needs --case")
    .option("--case <file>", "a case of the shape of test/fixtures/goldens/qemu-args.json")
    .option("--result", "for a request that wants a result")
    .addOption(new Option("--on-reboot <what>", "for a request that says so").argParser(choice(["continue", "end"])))
    .addOption(new Option("--tee <kind>", "as on a host that gives snp, tdx or none").argParser(choice(TEE_NEEDS)))
    .option("--no-gpu", "for a VM that does not get the GPU")
    .action(async (options: ExplainFlags, command: Command) => {
      const { json } = command.optsWithGlobals<GlobalOptions>();
      return (await import("./explain.ts")).explain(context, {
        json: json === true,
        cocos: options.cocos === true,
        caseFile: options.case,
        result: options.result === true,
        onReboot: options.onReboot ?? "continue",
        tee: options.tee,
        gpu: options.gpu,
      });
    });
}

function doctorCommand(context: CliContext): Command {
  return server("doctor", {
    summary: "look for what is wrong with this host",
    about:
      "Looks at this host, at Redis and at this host's VMs, and tells what is wrong and what to do about it. It changes nothing " +
      "and may run beside the worker. With --fix it mends what it lists, asking first. Run it with the worker's environment " +
      "and as the worker's user. It ends with 1 while there is a problem.",
    examples: [
      "drover doctor",
      "drover doctor --fix",
      "drover doctor --json | jq '.checks[] | select(.status != \"ok\")'",
    ],
  })
    .option("--fix", "mend what can be mended, asking before each kind")
    .option("-y, --yes", "with --fix: do not ask")
    .action(async (options: { readonly fix?: boolean; readonly yes?: boolean }, command: Command) => {
      const { json } = command.optsWithGlobals<GlobalOptions>();
      return (await import("./doctor.ts")).runDoctor(context, {
        json: json === true,
        fix: options.fix === true,
        yes: options.yes === true,
      });
    });
}

interface ExplainFlags {
  readonly cocos?: boolean;
  readonly case?: string;
  readonly result?: boolean;
  readonly onReboot?: "continue" | "end";
  readonly tee?: TeeNeed;
  readonly gpu: boolean;
}

/** `--url` means nothing to a command that asks no API, and `--json` to one that runs until it is stopped. */
function server(name: string, options: Parameters<typeof newCommand>[1]): Command {
  const answers = ["config", "explain", "doctor"].includes(name);
  return newCommand(name, options).configureHelp({
    showGlobalOptions: answers,
    visibleGlobalOptions: (command) => (command.parent?.options ?? []).filter((option) => option.long === "--json"),
  });
}
