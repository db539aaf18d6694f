import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

/** Commands that the user of docs/redis.md may run, beside its categories. */
const rules = /ACL SETUSER ([\s\S]*?)```/.exec(readFileSync("docs/redis.md", "utf8"))?.[1] ?? "";
const allowed = new Set([...rules.matchAll(/\+([a-z|]+)/g)].map(([, name]) => name));
/** Those of the connection itself, which `+@connection` holds. */
const CONNECTION = new Set(["ping", "quit", "select"]);

function textOf(dir: string, ending: string): string {
  const files = readdirSync(dir, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(ending));
  return files.map((name) => readFileSync(`${dir}/${name}`, "utf8")).join("\n");
}

const inScripts = [...textOf("src/queue/lua", ".lua").matchAll(/redis\.p?call\(\s*["']([a-zA-Z]+)["']/g)];
const inCode = [...textOf("src/queue", ".ts").matchAll(/\b(?:redis|pipeline|multi|server)\s*\.([a-z]+)\(/g)];
/** Methods of the client that are no commands, and what docs/redis.md leaves out on purpose. */
const NO_COMMANDS = new Set(["on", "off", "once", "pipeline", "disconnect", "duplicate", "nodes", "config", "call"]);

test("every command of drover's own is among the rights that docs/redis.md gives", () => {
  const used = [...inScripts, ...inCode].map(([, name = ""]) => name.toLowerCase());
  expect(new Set(used).size).toBeGreaterThan(30);
  const missing = used.filter((name) => !allowed.has(name) && !CONNECTION.has(name) && !NO_COMMANDS.has(name));
  expect([...new Set(missing)]).toEqual([]);
});

test("no right reaches beyond drover's keys or into the server", () => {
  expect(rules).toContain("~{drover}*");
  expect(rules).not.toMatch(/\+@all|allkeys|allcommands|~\*|&\*/);
  for (const name of ["config", "keys", "flushall", "flushdb", "scan", "acl", "script|flush", "debug", "eval_ro"]) {
    expect(allowed, name).not.toContain(name);
  }
});
