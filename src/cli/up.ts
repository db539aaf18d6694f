import { constants } from "node:fs";
import { access, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pid } from "node:process";
import { startApi } from "../producer/start-api.ts";
import { loadConfig } from "../runtime/config/load-config.ts";
import type { Config } from "../runtime/config-shape.ts";
import { EmbeddedRedis } from "../runtime/embedded-redis.ts";
import { Meter } from "../runtime/metrics/meter.ts";
import { Scope } from "../runtime/scope.ts";
import { ensureSecretKeyFile } from "../runtime/secret-keys.ts";
import { openTracing } from "../runtime/tracing/open-tracing.ts";
import { startWorker } from "../worker/start-worker.ts";
import type { StartedWorker } from "../worker/worker-stop.ts";
import { CliError } from "./cli-error.ts";
import { EXIT } from "./exit-codes.ts";
import {
  configFrom,
  keepFilesPrivate,
  serverLogger,
  startError,
  startUnlessStopped,
  untilStopped,
} from "./server-setup.ts";
import type { CliContext } from "./terminal.ts";
import { upSummary } from "./up-summary.ts";

const LOOPBACK = "127.0.0.1";

/** `drover up`: everything on this machine, until a signal; `mode` is what becomes of the VMs then. */
export async function runUp(context: CliContext, mode: "keep" | "stop"): Promise<void> {
  keepFilesPrivate();
  const asked = configFrom(context);
  await ensureStateDir(asked.stateDir);
  await using scope = new Scope();
  const redis = isSet(context, "DROVER_REDIS_URL", "REDIS_URL")
    ? undefined
    : scope.own(await startRedis(asked, context), (server) => server.close());
  const config = await completed(asked, redis, context);
  let left = 0;
  try {
    const logger = serverLogger(config, "api", context);
    const tracing = scope.own(await openTracing({ config: config.manager, logger }), (opened) => opened.close());
    const meter = new Meter({ process: true });
    const starting = startApi({ config, logger, meter, tracing });
    const api = await startUnlessStopped(starting, (late) => late.close(), context.signal);
    scope.own(api, (started) => started.close());
    const abandon = new AbortController();
    const workerLogger = serverLogger(config, "worker", context);
    const joining = startWorker({ config, logger: workerLogger, meter, tracing, abandon: abandon.signal });
    const stop = async (started: StartedWorker) => {
      left = (await started.stop(mode)).left;
    };
    const worker = await startUnlessStopped(joining, stop, context.signal, abandon);
    scope.own(worker, stop);
    const hasKvm = await mayUseKvm();
    await context.terminal.out(
      upSummary(
        { config, redis, hasKvm, url: api.url, grpcUrl: api.grpcUrl, hostId: worker.hostId, mode },
        context.terminal,
      ),
    );
  } catch (error) {
    throw startError(error, config);
  }
  await Promise.race([untilStopped(context.signal), redis?.lost ?? untilStopped(context.signal)]);
  const what = mode === "stop" ? "VMs are stopped and go back to the queue" : "VMs run on";
  context.terminal.err(`Stopping: ${what}. Ctrl-C again ends at once.\n`);
  await scope.close();
  const vms = left === 1 ? "1 VM runs on" : `${left} VMs run on`;
  context.terminal.err(`Stopped.${left === 0 ? "" : ` ${vms}.`} \`drover up\` goes on where this ended.\n`);
}

/** What `up` settles by itself, for whoever has not set it: Redis, the key for secrets, VMs' ports on loopback only. */
async function completed(asked: Config, redis: EmbeddedRedis | undefined, context: CliContext): Promise<Config> {
  const keyFile = asked.secrets.keyFile === "" ? join(asked.stateDir, "secrets.key") : asked.secrets.keyFile;
  if (asked.secrets.keys === "") await ensureSecretKeyFile(keyFile);
  const { config } = loadConfig({
    ...context.env,
    ...(redis === undefined ? {} : { DROVER_REDIS_URL: redis.url }),
    ...(asked.secrets.keys === "" ? { DROVER_SECRETS_KEY_FILE: keyFile } : {}),
    ...(isSet(context, "DROVER_FORWARD_BIND") ? {} : { DROVER_FORWARD_BIND: LOOPBACK }),
    ...(isSet(context, "DROVER_WORKER_METRICS") ? {} : { DROVER_WORKER_METRICS: "off" }), // the API tells of both
    // Nobody else could launch this machine's VMs, and nobody should end them while it sleeps.
    ...(isSet(context, "DROVER_HOST_LOST") ? {} : { DROVER_HOST_LOST: "hold" }),
  });
  return config;
}

async function startRedis(asked: Config, context: CliContext): Promise<EmbeddedRedis> {
  const { first, last } = asked.qemu.hostFwdRange;
  const own = [asked.http.port, asked.grpc.port];
  return EmbeddedRedis.start({
    stateDir: asked.stateDir,
    logger: serverLogger(asked, "redis", context),
    ownerPid: pid,
    avoidPorts: (port) => (port >= first && port <= last) || own.includes(port),
  });
}

async function ensureStateDir(stateDir: string): Promise<void> {
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
    await access(stateDir, constants.W_OK);
  } catch (error) {
    throw new CliError(
      `the state directory ${stateDir} cannot be used: ${error instanceof Error ? error.message : ""}`,
      {
        code: "state_dir_unusable",
        exitCode: EXIT.usage,
        hint: "Name another with DROVER_STATE_DIR.",
        cause: error,
      },
    );
  }
}

async function mayUseKvm(): Promise<boolean> {
  try {
    await access("/dev/kvm", constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false; // absent or not permitted: both mean that this user has no KVM
  }
}

function isSet({ env }: CliContext, ...names: readonly string[]): boolean {
  return names.some((name) => (env[name] ?? "") !== "");
}
