import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeRomMachine, type RomMachine } from "../helpers/rom-machine.ts";
import { buildDrover, cleanEnv, ROOT, startUp } from "./drover-process.ts";

/** A block of commands in the documentation, as a reader would paste it. */
interface Block {
  readonly file: string;
  readonly line: number;
  readonly text: string;
}

/** What a test cannot do as it stands, each with the test that does it, or with what takes its place. */
const REPLACED: readonly (readonly [RegExp, string])[] = [
  [/^npm run demo.*$/gm, ": # test/cli/demo.test.ts runs it"],
  [/^npm test.*$/gm, ": # runs this test"],
  [/^(\.\/bin\/)?drover up.*$/gm, ": # runs while this test does"],
  [/^npm run bench:\S+.*$/gm, ": # hours on a small machine; built and typed by npm test"],
  [/^\.\/bin\/drover token add.*$/gm, ": # test/cli/access.test.ts makes some: a token would end all others' access"],
  [/^npm run fuzz.*$/gm, ": # test/redis/fuzz.test.ts runs one"],
  [/^npm run soak.*$/gm, ": # test/chaos/chaos.test.ts runs one"],
  [/\.\/bin\/drover/g, "drover"],
  [/http:\/\/127\.0\.0\.1:7003/g, '"$DROVER_URL"'],
  [/\bID\b/g, '"$ID"'],
  [/^source <\(drover completion zsh\).*$/gm, "drover completion zsh > /dev/null"],
];

/** Files whose commands other tests run: test/guest, and test/cli/access.test.ts, since a token would end all others' access. */
const ELSEWHERE = ["docs/guest.md", "docs/access.md"];

/** Programs of the reader's own that the documentation uses to make a point. */
const STUBS = `
pass() { printf 'cc_kbc::http://10.0.2.2:8080'; }
generate() { printf '{"name":"one"}\\n{"name":"two"}\\n'; }
`;

let machine: RomMachine;
let up: Awaited<ReturnType<typeof startUp>>;
let dir: string;

beforeAll(async () => {
  await buildDrover();
  machine = await makeRomMachine("poweroff");
  up = await startUp({ ...machine.env, MANAGER_MAX_VMS: "4" });
  dir = await mkdtemp(join(tmpdir(), "drover-docs-"));
  const pem = "-----BEGIN TEST-----\nAAAA\n-----END TEST-----\n";
  for (const name of ["key.pem", "cert.pem", "ca.pem"]) await writeFile(join(dir, name), pem);
  for (const name of ["token.txt", "id", "key"]) await writeFile(join(dir, name), "a-token");
  await writeFile(join(dir, "request.json"), '{"name":"from a file"}');
  await writeFile(join(dir, "many.ndjson"), '{"name":"a"}\n{"name":"b"}\n');
}, 120_000);

afterAll(async () => {
  await up[Symbol.asyncDispose]();
  machine.dispose();
  await rm(dir, { recursive: true, force: true });
});

const files = [
  "README.md",
  ...(await readdir(join(ROOT, "docs"))).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`),
];
const blocks = (await Promise.all(files.map(blocksOf))).flat();

test("the documentation has commands to run", () => {
  expect(blocks.length).toBeGreaterThan(8);
});

test.each(blocks.filter(({ file }) => !ELSEWHERE.includes(file)))(
  "the commands at $file:$line do what they say",
  async ({ text }) => {
    const { stdout: id } = await up.run("submit");
    const script = REPLACED.reduce((commands, [pattern, by]) => commands.replace(pattern, by), text);
    const result = await execa("bash", ["-euo", "pipefail", "-c", `${STUBS}\n${script}`], {
      cwd: script.includes("npm run") ? ROOT : dir,
      env: {
        ...cleanEnv(),
        ...up.setting,
        PATH: `${join(ROOT, "bin")}:${process.env["PATH"] ?? ""}`,
        DROVER_URL: up.url,
        ID: id.trim(),
        AWS_ACCESS_KEY_ID: "AKIATEST",
        AWS_SECRET_ACCESS_KEY: "a-secret",
      },
      extendEnv: false,
      reject: false,
      all: true,
      timeout: 100_000,
    });
    expect(result.exitCode, `${script}\n${result.all}`).toBe(0);
    expect(result.all).not.toMatch(/"status": ?[45]\d\d|HTTP\/1\.1 [45]/);
  },
  120_000,
);

async function blocksOf(file: string): Promise<Block[]> {
  const text = await readFile(join(ROOT, file), "utf8");
  return [...text.matchAll(/^```(?:sh|bash)\n([\s\S]*?)^```/gm)].map((match) => ({
    file,
    line: text.slice(0, match.index).split("\n").length,
    text: match[1] ?? "",
  }));
}
