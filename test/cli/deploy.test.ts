import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { beforeAll, expect, test } from "vitest";
import { VmDetail } from "../../src/contract/vm-view.ts";
import { askAgent } from "../helpers/agent.ts";
import { freePort } from "../helpers/redis-server.ts";
import { makeRomMachine } from "../helpers/rom-machine.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { buildDrover, drover, ROOT, startUp } from "./drover-process.ts";

/** The variables of each start in docs/deploy.md, by the section that it stands in. */
async function starts(): Promise<Readonly<Record<string, Readonly<Record<string, string>>>>> {
  const page = await readFile(join(ROOT, "docs/deploy.md"), "utf8");
  const sections = page.split(/^## /m).map((section) => ({
    title: section.split("\n")[0] ?? "",
    command: /^```text\n\$ ([^$]*drover up)\n```/m.exec(section)?.[1],
  }));
  return Object.fromEntries(
    sections.flatMap(({ title, command }) =>
      command === undefined
        ? []
        : [
            [
              title,
              Object.fromEntries(
                [...command.matchAll(/^\s*(\w+)=(\S+) \\$/gm)].map(([, name, value]) => [name, value]),
              ),
            ],
          ],
    ),
  );
}

beforeAll(buildDrover);

test("there are the four starts that the Cocos manager documents", async () => {
  expect(Object.keys(await starts())).toEqual(["Plain", "SEV-SNP", "TDX", "Disk"]);
});

test("the plain one starts, listens for gRPC where it was told, and boots a guest whose agent answers", async () => {
  const { Plain = {} } = await starts();
  const grpcPort = await freePort();
  const env = { ...Plain, MANAGER_GRPC_URL: Plain["MANAGER_GRPC_URL"]?.replace("7001", `${grpcPort}`) ?? "" };
  await using up = await startUp({ MANAGER_GRPC_PORT: "", ...env });
  expect(up.output()).toMatch(new RegExp(`gRPC +\\S+:${grpcPort}\\b`));
  const { stdout } = await up.run("submit", "--server-url", "demo:serve", "--probe", "tcp");
  const vmId = stdout.trim();
  const vm = await waitFor(
    async () => {
      const seen = VmDetail.parse(JSON.parse((await up.run("get", vmId, "--json")).stdout));
      return seen.state === "ready" ? seen : undefined;
    },
    { timeoutMs: 60_000, what: "the VM to be ready" },
  );
  expect(await askAgent(vm.address)).toBe(`agent ok ${vmId}`);
  const { stdout: open } = await execa("find", [up.stateDir, "-perm", "/077", "!", "-type", "l"]);
  expect(open, "files that others may use").toBe("");
  await up.run("rm", vmId);
  await waitFor(async () => (await up.leftovers()).length <= 2, { timeoutMs: 30_000, what: "the VM to end" });
});

test("the one with a disk gives each VM a disk of its own, and deletes it", async () => {
  const { Disk = {} } = await starts();
  const dir = await mkdtemp(join(tmpdir(), "drover-disk-"));
  const machine = await makeRomMachine("poweroff");
  try {
    const source = join(dir, "enc_os.qcow2");
    await execa("qemu-img", ["create", "-q", "-f", "qcow2", source, "3M"]);
    const own = { MANAGER_GRPC_URL: `localhost:${await freePort()}`, MANAGER_QEMU_SRC_DISK_FILE: source };
    await using up = await startUp({ ...machine.env, MANAGER_GRPC_PORT: "", ...Disk, ...own });
    const { exitCode, stdout } = await up.run("submit", "--wait", "--json");
    expect(exitCode, stdout).toBe(0);
    const { items } = JSON.parse((await up.run("ls", "--json")).stdout) as { items: { id: string }[] };
    const { state, command } = VmDetail.parse(JSON.parse((await up.run("get", items[0]?.id ?? "", "--json")).stdout));
    expect(state).toBe("completed");
    const argv = JSON.stringify(command);
    expect(argv).toContain(",if=none,id=disk0,format=qcow2");
    expect(argv).not.toContain("-kernel");
    expect(argv, "the source itself is nobody's disk").not.toContain(source);
    const { stdout: left } = await execa("find", [up.stateDir, "-name", "*.qcow2", "-path", "*/vms/*"]);
    expect(left).toBe("");
  } finally {
    machine.dispose();
    await rm(dir, { recursive: true, force: true });
  }
});

const offersTee = /\b(sev_snp|tdx_host_platform)\b/.test(readFileSync("/proc/cpuinfo", "utf8"));

test.skipIf(offersTee).each([
  ["SEV-SNP", "MANAGER_QEMU_ENABLE_SEV_SNP"],
  ["TDX", "MANAGER_QEMU_ENABLE_TDX"],
])("the one for %s is refused on a host without it, with its name and the way out", async (title, variable) => {
  const stateDir = await mkdtemp(join(tmpdir(), "drover-tee-"));
  try {
    const env = {
      ...(await starts())[title],
      MANAGER_GRPC_URL: "",
      MANAGER_GRPC_PORT: "0",
      MANAGER_HTTP_PORT: "0",
      DROVER_STATE_DIR: stateDir,
    };
    for (const command of ["up", "explain"]) {
      const { exitCode, stderr } = await drover([command], env);
      expect(exitCode, command).toBe(2);
      const text = stderr.replace(/\s+/g, " ");
      expect(text).toContain(`${variable} is true, but this host does not offer ${title}. Set it to false`);
      expect(text).not.toContain("defect");
    }
  } finally {
    await rm(stateDir, { recursive: true, force: true });
  }
});
