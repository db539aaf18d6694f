import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeEach, expect, test } from "vitest";

const UNITS = "deploy/systemd";
const ANALYZE = "/usr/bin/systemd-analyze";
/** Of systemd 254; older ones say that they do not know it, and go on. */
const NEWER = /Unknown key '?(?:name )?'?DelegateSubgroup'?.*ignoring/;
/** What implies NoNewPrivileges for a unit whose user is not root (systemd.exec(5)). */
const IMPLIES_NO_NEW_PRIVILEGES =
  /^(?:NoNewPrivileges|SystemCallFilter|SystemCallArchitectures|SystemCallLog|RestrictAddressFamilies|RestrictNamespaces|RestrictFileSystems|PrivateDevices|ProtectKernelTunables|ProtectKernelModules|ProtectKernelLogs|ProtectClock|ProtectHostname|MemoryDenyWriteExecute|RestrictRealtime|RestrictSUIDSGID|DynamicUser|LockPersonality)=(.*)$/;

const folder = mkdtempSync(join(tmpdir(), "drv-units-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

beforeEach(({ skip }) => {
  if (!existsSync(ANALYZE)) skip(`${ANALYZE} is not there`);
});

function textOf(name: string): string {
  return readFileSync(join(UNITS, name), "utf8");
}

/** A unit as it would be installed, with a program that is there. */
function install(unit: string, dropIn?: string): { place: string; file: string } {
  const place = join(folder, `${unit}-${dropIn ?? "plain"}`);
  mkdirSync(join(place, `${unit}.d`), { recursive: true });
  writeFileSync(join(place, unit), textOf(unit).replace("/usr/local/bin/drover", "/bin/true"));
  if (dropIn !== undefined) writeFileSync(join(place, `${unit}.d`, dropIn), textOf(`${unit}.d/${dropIn}`));
  return { place, file: join(place, unit) };
}

async function analyze(args: readonly string[], place: string): Promise<string> {
  const { all, exitCode } = await execa(ANALYZE, args, {
    env: { SYSTEMD_UNIT_PATH: `${place}:`, SYSTEMD_COLORS: "0" },
    all: true,
    reject: false,
  });
  expect(exitCode, all).toBe(0);
  return all;
}

test.each<[string, string | undefined]>([
  ["drover-api.service", undefined],
  ["drover-worker.service", undefined],
  ["drover-worker.service", "sudo.conf"],
  ["drover-worker.service", "qemu-user.conf"],
])("systemd finds nothing wrong with %s (%s)", async (unit, dropIn) => {
  const { place, file } = install(unit, dropIn);
  const said = (await analyze(["verify", "--man=no", file], place)).split("\n");
  expect(said.filter((line) => line !== "" && !NEWER.test(line))).toEqual([]);
});

test("the API's unit leaves little open", async () => {
  const { place, file } = install("drover-api.service");
  const said = await analyze(["security", "--offline=true", "--no-pager", file], place);
  expect(Number(/Overall exposure level for \S+: ([\d.]+)/.exec(said)?.[1])).toBeLessThan(2);
});

test("a stop ends the worker alone, and both units take the settings of a Cocos manager", () => {
  expect(textOf("drover-worker.service")).toMatch(/^KillMode=process$/m);
  for (const unit of ["drover-api.service", "drover-worker.service"]) {
    const files = [...textOf(unit).matchAll(/^EnvironmentFile=(.*)$/gm)].map(([, path]) => path);
    expect(files).toEqual(["-/etc/cocos/cocos-manager.env", "-/etc/drover/drover.env"]);
  }
});

test("with the drop-in for sudo nothing is left that would forbid sudo", () => {
  const settings = new Map<string, string>();
  for (const text of [textOf("drover-worker.service"), textOf("drover-worker.service.d/sudo.conf")]) {
    for (const line of text.split("\n")) {
      if (IMPLIES_NO_NEW_PRIVILEGES.test(line)) settings.set(line.split("=")[0] ?? "", line.split("=")[1] ?? "");
    }
  }
  expect(settings.size).toBeGreaterThan(8);
  expect([...settings].filter(([, value]) => value !== "" && value !== "false")).toEqual([]);
});
