import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { beforeAll, describe, expect, test } from "vitest";
import { VmDetail, VmList } from "../../src/contract/vm-view.ts";
import { parseMetrics, sampleOf } from "../helpers/metrics-text.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { buildDrover, cleanEnv, DROVER, drover, pidsWith, startUp } from "./drover-process.ts";

beforeAll(buildDrover);
/** Several real boots in a row, beside other groups that boot, too. */
const BOOTS_TIMEOUT_MS = 180_000;

test("without a build it says how to make one", async () => {
  const root = await mkdtemp(join(tmpdir(), "drover-unbuilt-"));
  await mkdir(join(root, "bin"));
  await writeFile(join(root, "package.json"), '{"type":"module"}');
  await writeFile(join(root, "bin/drover"), await readFile(DROVER));
  const { stderr, exitCode } = await execa("node", [join(root, "bin/drover"), "ls"], { reject: false });
  expect(exitCode).toBe(2);
  expect(stderr).toContain("npm run setup");
  await rm(root, { recursive: true });
});

test("exit codes reach the shell, errors go to standard error", async () => {
  const help = await drover([]);
  expect([help.exitCode, help.stderr]).toEqual([0, ""]);
  const wrong = await drover(["lss"]);
  expect([wrong.exitCode, wrong.stdout]).toEqual([2, ""]);
  const nobody = await drover(["ls", "--url", "http://127.0.0.1:1"]);
  expect([nobody.exitCode, nobody.stdout]).toEqual([4, ""]);
  const config = await drover(["config"], { MANAGER_HTTP_PORT: "x", MANAGER_QEMU_ENABLE_KVM: "maybe" });
  expect([config.exitCode, config.stdout]).toEqual([2, ""]);
  expect(config.stderr).toContain("MANAGER_HTTP_PORT");
  expect(config.stderr).toContain("MANAGER_QEMU_ENABLE_KVM");
});

test("a reader that leaves early is no error", async () => {
  const { exitCode, stdout, stderr } = await execa("bash", ["-o", "pipefail", "-c", `"${DROVER}" config | head -n 1`], {
    env: cleanEnv(),
    extendEnv: false,
    reject: false,
  });
  expect([exitCode, stdout, stderr]).toEqual([0, "Manager", ""]);
});

describe("drover up", { timeout: BOOTS_TIMEOUT_MS }, () => {
  test("runs a VM from its request to its result, and every client command with it", async () => {
    await using up = await startUp();
    expect(up.output()).toContain(`Dashboard  ${up.url}/board`);
    for (const file of ["secrets.key", "redis/password", "redis/url"]) {
      expect((await stat(join(up.stateDir, file))).mode & 0o777, file).toBe(0o600);
    }
    const following = drover(["events", "--follow", "--json", "--after", "0"], { DROVER_URL: up.url });
    const token = join(up.stateDir, "token");
    await writeFile(token, "canary-token\n");
    const words = [
      "submit",
      "--wait",
      "--result",
      "--server-url",
      "demo:exit:0",
      "--name",
      "first",
      "--certs-token-file",
      token,
    ];
    const waited = await up.run(...words);
    expect([waited.exitCode, waited.stderr]).toEqual([
      0,
      expect.stringMatching(/queued.*preparing.*running.*completed/s),
    ]);
    const id = waited.stdout.trim();
    const vm = VmDetail.parse(JSON.parse((await up.run("get", id.slice(0, 8), "--json")).stdout));
    expect(vm).toMatchObject({ id, state: "completed", hasSecrets: true, result: { exitCode: 0 } });
    expect((await up.run("console", id)).stdout).toContain("drover-guest: exit code 0");
    expect((await up.run("ls")).stdout).toContain(id.slice(0, 8));

    const failed = await up.run("submit", "--wait", "--result", "--server-url", "demo:exit:7");
    expect([failed.exitCode, failed.stderr]).toEqual([1, expect.stringContaining("computation_failed")]);
    const list = VmList.parse(JSON.parse((await up.run("ls", "--json", "--cause", "computation_failed")).stdout));
    expect(list.items.map(({ id: one }) => one)).toEqual([failed.stdout.trim()]);
    expect((await up.run("retry", failed.stdout.trim())).exitCode).toBe(0);
    expect((await up.run("retry", id)).exitCode).toBe(1);

    const serving = (await up.run("submit", "--server-url", "demo:serve", "--probe", "tcp")).stdout.trim();
    await waitFor(async () => (await up.run("ls", "-q", "--state", "ready")).stdout.trim() === serving, {
      timeoutMs: 120_000,
      what: "the VM to be ready",
    });
    const removed = await up.run("rm", "--wait", serving);
    expect([removed.exitCode, removed.stdout]).toEqual([0, `${serving}  removed\n`]);

    const metrics = await (await fetch(`${up.url}/metrics`)).text();
    const samples = parseMetrics(metrics);
    expect(sampleOf(samples, "drover_launches_ended_total", { outcome: "removed" }), "the worker's are in them").toBe(
      1,
    );
    expect(sampleOf(samples, "drover_vms", { state: "removed" })).toBe(1);
    expect(sampleOf(samples, "process_resident_memory_bytes")).toBeGreaterThan(0);

    following.kill("SIGINT");
    const { stdout, exitCode } = await following;
    expect(exitCode).toBe(130);
    const types = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).event)
      .filter(({ subject }) => subject === id)
      .map(({ type }) => type);
    expect(types).toEqual(["vm.queued", "vm.preparing", "vm.starting", "vm.running", "vm.completed"]);
    expect(up.output() + stdout + waited.stderr + metrics).not.toContain("canary-token");
  });

  test("a second one with the same directory or the same port is refused, the first goes on", async () => {
    await using up = await startUp();
    const sameDirectory = await drover(["up"], { ...up.setting, MANAGER_HTTP_PORT: "7999" });
    expect([sameDirectory.exitCode, sameDirectory.stderr]).toEqual([2, expect.stringContaining("already")]);
    const stateDir = await mkdtemp(join(tmpdir(), "dup-"));
    const samePort = await drover(["up"], { ...up.setting, DROVER_STATE_DIR: stateDir });
    expect([samePort.exitCode, samePort.stderr]).toEqual([2, expect.stringContaining("MANAGER_HTTP_PORT")]);
    expect(await pidsWith(`${stateDir}/`)).toEqual([]);
    expect((await up.run("ls")).exitCode).toBe(0);
    await rm(stateDir, { recursive: true });
  });

  test("SIGTERM stops it in good order and leaves its VM running, and the next start goes on with it", async () => {
    const stateDir = await mkdtemp(join(tmpdir(), "dup-"));
    const first = await startUp({ DROVER_STATE_DIR: stateDir });
    const id = (await first.run("submit", "--server-url", "demo:serve", "--probe", "tcp")).stdout.trim();
    const isReady = async (up: typeof first) => (await up.run("ls", "-q", "--state", "ready")).stdout.trim() === id;
    await waitFor(() => isReady(first), { timeoutMs: 120_000, what: "the VM to be ready" });
    first.child.kill("SIGTERM");
    const { exitCode, all } = await first.child;
    expect(exitCode).toBe(0);
    expect(all).toContain("1 VM runs on.");
    const machine = await first.leftovers();
    expect(machine, "QEMU and nothing else").toHaveLength(1);

    const second = await startUp({ DROVER_STATE_DIR: stateDir });
    await waitFor(() => isReady(second), { timeoutMs: 120_000, what: "the VM to be there still" });
    expect(await second.leftovers(), "the same process").toEqual(expect.arrayContaining([...machine]));
    expect((await second.run("rm", "--wait", id)).exitCode).toBe(0);

    // Killed outright it takes its Redis along, and the next start finds the queue.
    const waiting = (await second.run("submit", "--pool", "nobody-serves-it")).stdout.trim();
    second.child.kill("SIGKILL");
    await second.child;
    await waitFor(async () => (await second.leftovers()).length === 0, { what: "the end of Redis" });
    await using third = await startUp({ DROVER_STATE_DIR: stateDir });
    expect((await third.run("ls", "-q", "--state", "queued")).stdout.trim()).toBe(waiting);
  });

  test("a missing redis-server is told with the line that installs it", async () => {
    const stateDir = await mkdtemp(join(tmpdir(), "dup-"));
    const path = await mkdtemp(join(tmpdir(), "drover-path-"));
    for (const name of ["node", "setpriv", "flock"])
      await execa("ln", ["-s", (await execa("which", [name])).stdout, join(path, name)]);
    const { exitCode, stderr } = await execa(process.execPath, [DROVER, "up"], {
      env: { ...cleanEnv(), PATH: path, DROVER_STATE_DIR: stateDir },
      extendEnv: false,
      reject: false,
    });
    expect(exitCode).toBe(2);
    expect(stderr.replace(/\s+/g, " ")).toContain("apt-get install -y redis-server");
    await Promise.all([stateDir, path].map((dir) => rm(dir, { recursive: true })));
  });
});
