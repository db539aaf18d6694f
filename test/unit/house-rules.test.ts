import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";

const EVERY_AREA = ["contract", "runtime", "queue", "qemu", "attestation", "producer", "worker", "cli"];
/** What runs in the browser: plain JavaScript, served as it is. */
const PAGE_AREA = "console";

/** Which area may import which (ARCHITECTURE.md). Data flows one way. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  contract: [],
  runtime: ["contract"],
  queue: ["contract", "runtime"],
  qemu: ["contract", "runtime"],
  attestation: ["contract", "runtime"],
  producer: ["contract", "runtime", "queue", "attestation"],
  worker: ["contract", "runtime", "queue", "qemu", "attestation"],
  cli: EVERY_AREA,
  console: ["contract"], // types only: a browser cannot load them
};

/** Packages that only one area may use. */
const PACKAGE_HOME: Record<string, readonly string[]> = {
  bullmq: ["queue"],
  ioredis: ["queue", "runtime"],
  fastify: ["producer"],
  "@grpc/grpc-js": ["producer"],
  "@grpc/proto-loader": ["producer"],
  "@grpc/reflection": ["producer"],
  "@bull-board/api": ["producer"],
  "@bull-board/fastify": ["producer"],
  commander: ["cli"],
  execa: ["qemu", "runtime", "attestation"],
  cborg: ["attestation"],
  "prom-client": ["runtime"],
  preact: ["console"],
  "preact/hooks": ["console"],
  htm: ["console"],
  "@opentelemetry/api": ["runtime"],
  "@opentelemetry/core": ["runtime"],
  "@opentelemetry/resources": ["runtime"],
  "@opentelemetry/sdk-trace-base": ["runtime"],
  "@opentelemetry/exporter-trace-otlp-proto": ["runtime"],
};

/** The client part of the command line speaks HTTP only. */
const CLIENT_FOLDERS = ["cli/client", "cli/commands", "cli/render"];

/** Types and the one call that a file needs; a file should be readable at once. */
const LINES_MAX = 280;

const files = readdirSync("src", { recursive: true, encoding: "utf8" }).filter((name) => /\.[tj]s$/.test(name));

function imports(text: string): string[] {
  return [...text.matchAll(/(?:from|import\()\s*"([^"]+)"/g)].map(([, target = ""]) => target);
}

test("the check sees the source", () => {
  expect(files.length).toBeGreaterThan(100);
  expect(new Set(files.map((file) => file.split("/")[0]))).toEqual(new Set([...EVERY_AREA, PAGE_AREA]));
});

test.each(files)("src/%s keeps the house rules", (file) => {
  const text = readFileSync(join("src", file), "utf8");
  const area = file.split("/")[0] ?? "";
  expect(text.split("\n").length, "lines").toBeLessThanOrEqual(LINES_MAX);
  const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
  expect(code, "unfinished or loose code").not.toMatch(
    /\b(TODO|FIXME|XXX)\b|console\.log\(|@ts-ignore|@ts-expect-error|\bas any\b|: any\b|<any>/,
  );
  expect(file, "file names are kebab-case").toMatch(/^[a-z0-9-]+(\/[a-z0-9-]+)*\.(ts|js)$/);
  expect(file.endsWith(".js"), "JavaScript is for the browser").toBe(area === PAGE_AREA);
  expect(file, "no dumping ground").not.toMatch(/(^|\/)(utils?|helpers?|common|misc|index)(\.[tj]s|\/)/);
  if (area === PAGE_AREA)
    for (const target of imports(code))
      expect(target, "what a browser can load").toMatch(/^\.{1,2}\/.*\.js$|^(preact|preact\/hooks|htm)$/);
  for (const target of imports(text)) {
    if (target.startsWith(".")) {
      const imported = normalize(join(dirname(file), target)).split("/")[0] ?? "";
      if (imported !== area) expect(MAY_IMPORT[area], `${area} -> ${imported}`).toContain(imported);
      if (CLIENT_FOLDERS.some((folder) => file.startsWith(`${folder}/`))) {
        expect(["cli", "contract", "runtime"], `the client part imports ${target}`).toContain(imported);
      }
    } else if (area === "contract") {
      expect(target, "contract is pure data").toBe("zod");
    } else {
      const home = PACKAGE_HOME[target];
      if (home !== undefined) expect(home, `${area} uses ${target}`).toContain(area);
    }
  }
});

test("only entry points read the environment of the process", () => {
  const readers = files.filter((file) => /process\.env\b/.test(readFileSync(join("src", file), "utf8")));
  expect(readers.filter((file) => !file.startsWith("cli/"))).toEqual(["qemu/qemu-process.ts"]); // what a child gets
});
