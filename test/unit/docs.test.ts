import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Command } from "commander";
import { expect, test } from "vitest";
import { createProgram } from "../../src/cli/program.ts";
import { createPaint } from "../../src/cli/render/paint.ts";
import { KNOWN_NAMES, REFUSED_DISK_NAME } from "../../src/runtime/config/known-names.ts";
import { ALL_VARIABLES } from "../../src/runtime/config/variables.ts";

const pages = [
  "README.md",
  "SECURITY.md",
  "ARCHITECTURE.md",
  ...readdirSync("docs")
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

const variableNames = new Set([
  ...ALL_VARIABLES.flatMap(({ name, aliases = [] }) => [name, ...aliases]),
  ...KNOWN_NAMES.map(({ name }) => name),
  REFUSED_DISK_NAME,
]);

const scripts = Object.keys(
  (JSON.parse(readFileSync("package.json", "utf8")) as { scripts: Record<string, string> }).scripts,
);

/** Anchors of a page's headings, as the usual viewers of Markdown make them. */
function anchorsOf(page: string): readonly string[] {
  return [...readFileSync(page, "utf8").matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

/** Every command with its path, such as "hosts forget". */
function commandPaths(command: Command, path = ""): readonly string[] {
  return command.commands.flatMap((one) => {
    const own = `${path} ${one.name()}`.trim();
    return [own, ...commandPaths(one, own)];
  });
}

const program = createProgram(
  {
    terminal: {
      out: () => Promise.resolve(),
      err: () => undefined,
      columns: 80,
      outIsScreen: false,
      errIsScreen: false,
      paint: createPaint(false),
      errPaint: createPaint(false),
      readStdin: () => Promise.resolve(Buffer.alloc(0)),
      ask: () => Promise.resolve(undefined),
    },
    env: {},
    signal: new AbortController().signal,
    now: () => 0,
    setExitCode: () => undefined,
  },
  { version: "0", node: "0" },
);
const commands = commandPaths(program);
const parents = commands.filter((path) => commands.some((other) => other.startsWith(`${path} `)));

/** The commands that a page shows: in the text, in blocks to run, and behind a prompt in other blocks. */
function codeOf(text: string): string {
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```|`([^`\n]+)`/gm)]
    .map(([, language, block = "", word]) => {
      if (word !== undefined || language === "sh" || language === "bash") return word ?? block;
      return block.replace(/^(?!.*\$ ).*$/gm, ""); // what a command answers
    })
    .join("\n");
}

/** Variables of the compose file, which drover itself never sees. */
const ofTheStack = [...readFileSync("docker-compose.yml", "utf8").matchAll(/\$\{([A-Z_]+)/g)].map(
  ([, name = ""]) => name,
);

test.each(pages)("%s names only pages, variables, commands and scripts that there are", (page) => {
  const text = readFileSync(page, "utf8");
  const wrong: string[] = [];
  for (const [, target = ""] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(target)) continue;
    const [path = "", anchor] = target.split("#");
    const file = path === "" ? page : join(dirname(page), path);
    if (!existsSync(file)) wrong.push(`page ${target}`);
    else if (anchor !== undefined && !anchorsOf(file).includes(anchor)) wrong.push(`heading ${target}`);
  }
  for (const [name] of text.matchAll(/\b(?:MANAGER|DROVER|COCOS)_[A-Z0-9_]*[A-Z0-9]\b/g))
    if (!variableNames.has(name) && !ofTheStack.includes(name)) wrong.push(`variable ${name}`);
  for (const [, words = ""] of codeOf(text).matchAll(/(?:\$ +|^|\/)drover ([a-z]+(?: [a-z]+)?)/gm)) {
    const [first = "", second = ""] = words.split(" ");
    if (!commands.includes(first)) wrong.push(`command ${first}`);
    else if (parents.includes(first) && second !== "" && first !== "hosts" && !commands.includes(words))
      wrong.push(`command ${words}`);
  }
  for (const [, name = ""] of text.matchAll(/npm run (?:-s )?([a-z:]+)/g))
    if (!scripts.includes(name)) wrong.push(`script ${name}`);
  expect(wrong).toEqual([]);
});
