import type { Config } from "../runtime/config-shape.ts";
import type { EmbeddedRedis } from "../runtime/embedded-redis.ts";
import { DEFAULT_URL } from "./client/api-url.ts";
import { printable, wrap } from "./render/text-width.ts";
import type { Terminal } from "./terminal.ts";

const LABEL_CHARS = 11;

export interface UpFacts {
  readonly config: Config;
  readonly redis: Pick<EmbeddedRedis, "shownUrl" | "paths"> | undefined;
  /** Whether this user may open /dev/kvm. */
  readonly hasKvm: boolean;
  /** Where the API listens. */
  readonly url: string;
  /** Where gRPC clients reach it. */
  readonly grpcUrl: string;
  readonly hostId: string;
  /** What becomes of the VMs at the end. */
  readonly mode: "keep" | "stop";
}

/** What runs where, once everything runs. */
export function upSummary(
  { config, redis, hasKvm, url, grpcUrl, hostId, mode }: UpFacts,
  { paint, columns }: Terminal,
): string {
  const { first, last } = config.qemu.hostFwdRange;
  const slots = config.manager.maxVms > 0 ? `${config.manager.maxVms} VMs at a time` : "as many VMs as there are ports";
  const line = (label: string, value: string) => {
    const [head = "", ...more] = wrap(printable(value), columns - LABEL_CHARS - 2);
    return [
      `  ${paint.dim(label.padEnd(LABEL_CHARS))}${head}`,
      ...more.map((rest) => `${" ".repeat(LABEL_CHARS + 2)}${rest}`),
    ];
  };
  return `${[
    paint.bold("drover is up"),
    ...line("API", url),
    ...line("gRPC", `${new URL(grpcUrl).host}, for cocos-cli`),
    ...line("Dashboard", `${url}/board`),
    ...line("API docs", `${url}/docs`),
    ...line("Worker", `${hostId}, ${slots}, ports ${first}-${last}`),
    ...line("Boots with", accelerator(config, hasKvm)),
    ...line(
      "Redis",
      redis === undefined
        ? "the one that DROVER_REDIS_URL names"
        : `${redis.shownUrl}, private; its URL with password is in ${redis.paths.url}`,
    ),
    ...line("State", config.stateDir),
    "",
    `Submit a VM:  drover submit --wait${url === DEFAULT_URL ? "" : ` --url ${url}`}`,
    mode === "stop" ? "Ctrl-C stops everything." : "Ctrl-C stops everything but the VMs.",
  ].join("\n")}\n`;
}

function accelerator(config: Config, hasKvm: boolean): string {
  if (!config.qemu.enableKvm) return "TCG: software emulation, slower (MANAGER_QEMU_ENABLE_KVM=false)";
  return hasKvm
    ? "KVM"
    : "KVM is asked for, but /dev/kvm cannot be opened: VMs will not start. MANAGER_QEMU_ENABLE_KVM=false takes TCG.";
}
