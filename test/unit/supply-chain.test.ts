import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";

const Package = z.object({
  version: z.string().optional(),
  resolved: z.string().optional(),
  integrity: z.string().optional(),
  link: z.boolean().optional(),
  dev: z.boolean().optional(),
  optional: z.boolean().optional(),
  os: z.array(z.string()).optional(),
  cpu: z.array(z.string()).optional(),
  hasInstallScript: z.boolean().optional(),
  engines: z.object({ node: z.string().optional() }).optional().catch(undefined),
});
const Manifest = z.object({
  dependencies: z.record(z.string(), z.string()),
  devDependencies: z.record(z.string(), z.string()),
});

const lock = z
  .object({ lockfileVersion: z.number(), packages: z.record(z.string(), Package) })
  .parse(JSON.parse(readFileSync("package-lock.json", "utf8")));
const manifest = Manifest.parse(JSON.parse(readFileSync("package.json", "utf8")));

/** Every package of the lock file but drover itself. */
const packages = Object.entries(lock.packages)
  .filter(([path]) => path !== "")
  .map(([path, entry]) => ({ path, name: path.replace(/^.*node_modules\//, ""), ...entry }));
const production = packages.filter(({ dev, path }) => dev !== true && !path.startsWith("node_modules/@typescript/"));

/**
 * Packages that would run something when they are installed. drover is installed with scripts off; each of these works
 * all the same, in the way that stands beside it.
 */
const INSTALL_SCRIPTS: Readonly<Record<string, string>> = {
  protobufjs: "prints a hint about version numbers",
  "msgpackr-extract": "compiles what its prebuilt packages bring anyway; msgpackr works without it",
  esbuild: "puts its binary in the place of a script that starts it",
  ssh2: "compiles ciphers that it has in JavaScript too",
  "cpu-features": "compiles what ssh2 does without",
};

/** Production packages that ask for a newer Node and work on 20.19, as the tests that use them show. */
const NEWER_NODE: Readonly<Record<string, string>> = {
  cookie: "light-my-request, for requests of tests; http-*.test.ts",
  "content-disposition": "@fastify/static, for the files of /docs and /board; http-board.test.ts",
};

/** The first versions without a vulnerability that concerned somebody who uses the package as drover does. */
const FIXED_IN: readonly (readonly [name: string, version: string, why: string])[] = [
  ["@grpc/grpc-js", "1.10.9", "CVE-2024-37168: size limits passed by"],
  ["protobufjs", "7.5.5", "CVE-2023-36665, CVE-2026-41242, CVE-2026-44291: prototypes, generated code"],
  ["fastify", "5.8.3", "CVE-2025-32442, CVE-2026-25223, CVE-2026-25224, CVE-2026-3635, CVE-2026-33806: validation"],
  ["undici", "7.5.0", "CVE-2025-22150, CVE-2025-47279: boundaries, memory"],
  ["ejs", "3.1.10", "CVE-2024-33883: prototypes"],
  ["lodash", "4.17.21", "CVE-2021-23337: templates"],
  ["semver", "7.5.2", "CVE-2022-25883: time of a regular expression"],
  ["cross-spawn", "7.0.5", "CVE-2024-21538: time of a regular expression"],
];

const SEMVER = /^(\d+)\.(\d+)\.(\d+)(?:-[0-9A-Za-z.-]+)?$/;

function numbers(version: string): readonly [number, number, number] {
  const [major = 0, minor = 0, patch = 0] = version
    .replace(/[^0-9.]/g, "")
    .split(".")
    .map(Number);
  return [major, minor, patch];
}

function compare(a: string, b: string): number {
  const [left, right] = [numbers(a), numbers(b)];
  const at = left.findIndex((part, index) => part !== right[index]);
  return at === -1 ? 0 : (left[at] ?? 0) - (right[at] ?? 0);
}

/** Whether a range of `engines` admits a version: the forms that packages really write. */
function admits(range: string, version: string): boolean {
  return range.split("||").some((part) => {
    const comparators = part.trim().replace(/(>=|<=|[<>^~=])\s+/g, "$1");
    return comparators.split(/\s+/).every((one) => {
      const [, sign = "", wanted = ""] = /^(>=|<=|[<>^~=]?)(.*)$/.exec(one) ?? [];
      const depth = wanted.replace(/\.?[x*].*$/, "").split(".").length;
      const order = compare(version, wanted);
      if (wanted === "" || wanted === "*") return true;
      if (sign === ">=") return order >= 0;
      if (sign === ">") return order > 0;
      if (sign === "<") return order < 0;
      if (sign === "<=") return order <= 0;
      const same = sign === "^" ? 1 : sign === "~" ? 2 : depth;
      return order >= 0 && numbers(version).slice(0, same).join() === numbers(wanted).slice(0, same).join();
    });
  });
}

test("the check of ranges knows its own failures", () => {
  for (const range of ["*", ">=20", ">= 14.6", "18 || 20 || >=22", "^18.19.0 || >=20.5.0", "20.x", ">=18 <21"])
    expect(admits(range, "20.19.0"), range).toBe(true);
  for (const range of [">=22", "18 || >=22", "^22.12", ">=20.20", "^20.20.0", ">=18 <20", "20.18"])
    expect(admits(range, "20.19.0"), range).toBe(false);
});

test("every package comes from the registry, with a digest that npm checks", () => {
  expect(lock.lockfileVersion).toBe(3);
  expect(packages.length).toBeGreaterThan(200);
  for (const { path, version, resolved, integrity, link, optional, os, cpu } of packages) {
    expect(version, path).toMatch(SEMVER);
    expect(link, `${path} is a folder of somebody's machine`).toBeUndefined();
    if (resolved !== undefined) expect(resolved, path).toMatch(/^https:\/\/registry\.npmjs\.org\/.+\.tgz$/);
    // npm writes no digest of a package for another platform, which it has not seen: it is never installed here either.
    const forElsewhere = optional === true && (os !== undefined || cpu !== undefined);
    if (!forElsewhere || integrity !== undefined) expect(integrity, path).toMatch(/^sha512-[A-Za-z0-9+/]{86}==$/);
  }
});

test("what package.json asks for has a version, and no address of its own", () => {
  for (const [name, range] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies }))
    expect(range, name).toMatch(/^\^?\d+\.\d+\.\d+$/);
});

test("nothing has a script to run at its installation but what is known, and such scripts are switched off", () => {
  const scripted = packages.filter(({ hasInstallScript }) => hasInstallScript === true).map(({ name }) => name);
  expect([...new Set(scripted)].sort()).toEqual(Object.keys(INSTALL_SCRIPTS).sort());
  expect(readFileSync(".npmrc", "utf8")).toMatch(/^ignore-scripts=true$/m);
  expect(readFileSync("scripts/prepare/npm-packages.mjs", "utf8")).toContain('"ci", "--ignore-scripts"');
});

test("every production package runs on the oldest Node that drover runs on", () => {
  const refusing = production.filter(({ engines }) => !admits(engines?.node ?? "*", "20.19.0"));
  expect(refusing.map(({ name }) => name).sort()).toEqual(Object.keys(NEWER_NODE).sort());
});

test.each(FIXED_IN)("%s is not older than %s (%s)", (name, version) => {
  const installed = production.filter((entry) => entry.name === name).map((entry) => entry.version ?? "0.0.0");
  expect(installed.length, `${name} is not loaded any more: take the line out`).toBeGreaterThan(0);
  for (const one of installed) expect(compare(one, version), one).toBeGreaterThanOrEqual(0);
});

test("every package that package.json names has its line in docs/dependencies.md, and no other has one", () => {
  const page = readFileSync("docs/dependencies.md", "utf8");
  const named = [...page.matchAll(/^\| ([^|]+) \|/gm)]
    .flatMap(([, cell = ""]) => cell.split(",").map((name) => name.trim()))
    .filter((name) => name !== "package" && !/^-+$/.test(name));
  const asked = [...Object.keys(manifest.dependencies), ...Object.keys(manifest.devDependencies)];
  expect(named.sort()).toEqual(asked.sort());
});

test.each([
  ["no vulnerability", { vulnerabilities: {}, metadata: { dependencies: { prod: 7 } } }, 0, /^0 of 7 packages/],
  [
    "one",
    {
      vulnerabilities: {
        x: { name: "x", severity: "high", range: "<2", via: [{ title: "It leaks", url: "https://e.example" }, "y"] },
      },
    },
    1,
    /high: x <2\n {2}It leaks https:\/\/e\.example/,
  ],
  ["no endpoint", { message: "405 Method Not Allowed", error: { summary: "" } }, 2, /not audited: 405/],
])("`npm run audit` tells by its exit code when the registry knows %s", (_what, answer, code, said) => {
  const dir = mkdtempSync(join(tmpdir(), "drover-audit-"));
  try {
    const npm = join(dir, "npm");
    writeFileSync(npm, `#!/bin/sh\ncat <<'END'\n${JSON.stringify(answer)}\nEND\n`);
    chmodSync(npm, 0o755);
    expect(runAudit(`${dir}:${process.env["PATH"] ?? ""}`)).toEqual([code, expect.stringMatching(said)]);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

function runAudit(path: string): readonly [number, string] {
  const script = `"$0" scripts/audit.mjs 2>&1; echo "exit $?"`;
  const out = execFileSync("sh", ["-c", script, process.execPath], { env: { PATH: path }, encoding: "utf8" });
  return [Number(/exit (\d+)\n$/.exec(out)?.[1]), out];
}
