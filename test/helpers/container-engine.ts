import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { waitFor } from "./wait-for.ts";

export interface ContainerEngine extends AsyncDisposable {
  /** Says where it came from: the run prints it. */
  readonly origin: string;
  /** For every command that speaks to it. */
  readonly env: Readonly<Record<string, string>>;
}

/**
 * The machine's own container engine, or one of our own that ends with the test (Debian's docker.io; needs root). Else
 * the reason why there is none.
 */
export async function openContainerEngine(): Promise<ContainerEngine | { readonly missing: string }> {
  if (await answers({})) {
    return { origin: "the machine's own engine", env: {}, [Symbol.asyncDispose]: async () => undefined };
  }
  const dockerd = ["/usr/sbin/dockerd", "/usr/bin/dockerd"].find((path) => existsSync(path));
  if (dockerd === undefined) return { missing: "no container engine answers, and dockerd is not installed" };
  if (process.getuid?.() !== 0) return { missing: "no container engine answers, and only root can start one" };
  return startEngine(dockerd);
}

async function startEngine(dockerd: string): Promise<ContainerEngine | { readonly missing: string }> {
  const dir = mkdtempSync(join(tmpdir(), "drv-engine-"));
  const hadBridge = existsSync("/sys/class/net/docker0");
  const socket = `unix://${join(dir, "docker.sock")}`;
  const engine = execa(
    dockerd,
    [
      "--host",
      socket,
      "--data-root",
      join(dir, "data"),
      "--exec-root",
      join(dir, "exec"),
      "--pidfile",
      join(dir, "pid"),
    ],
    { stdio: ["ignore", "ignore", "pipe"], reject: false },
  );
  let said = "";
  engine.stderr.on("data", (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-2_000);
  });
  let ended = false;
  void engine.then(() => {
    ended = true;
  });
  const env = { DOCKER_HOST: socket };
  const dispose = async () => {
    engine.kill("SIGTERM");
    await engine;
    // The engine leaves its network namespace mounted, and a killed container what it had mounted.
    const mounted = readFileSync("/proc/self/mounts", "utf8").split("\n");
    const ours = mounted.map((line) => line.split(" ")[1] ?? "").filter((place) => place.startsWith(`${dir}/`));
    for (const place of ours.reverse()) await execa("umount", ["--lazy", place], { reject: false });
    if (!hadBridge) await execa("ip", ["link", "delete", "docker0"], { reject: false });
    rmSync(dir, { recursive: true, force: true });
  };
  await waitFor(async () => ended || (await answers(env)), { timeoutMs: 30_000, what: "dockerd to answer" });
  if (ended) {
    await dispose();
    return { missing: `dockerd ended at its start: ${said.split("\n").at(-2) ?? said}` };
  }
  return { origin: "dockerd of its own", env, [Symbol.asyncDispose]: dispose };
}

async function answers(env: Readonly<Record<string, string>>): Promise<boolean> {
  const { exitCode } = await execa("docker", ["version"], { env, reject: false, timeout: 10_000 });
  return exitCode === 0;
}
