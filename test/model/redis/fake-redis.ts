import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { COMMANDS } from "./commands.ts";
import { Keyspace, type Reply, ReplyError } from "./data.ts";
import { runScript } from "./scripting.ts";

/** One command on the wire; several for a transaction or a pipeline, which are answered together. */
export interface Command {
  readonly name: string;
  readonly args: readonly string[];
  readonly batch?: readonly Command[];
}

/** The answer to one command of a batch. */
export type BatchReply = readonly (readonly [error: ReplyError | null, value: Reply])[];

const shas = new Map<string, string>();
/** A Redis that has been used for a while knows drover's scripts. */
const LOADED = new Map(readScripts().map((script) => [shaOf(script), script]));

function readScripts(): readonly string[] {
  const folder = new URL("../../../src/queue/lua/", import.meta.url);
  const read = (file: string): string =>
    readFileSync(new URL(file, folder), "utf8").replace(/^--#include (\w+)$/gm, (_line, part: string) =>
      read(`include/${part}.lua`),
    );
  return readdirSync(folder)
    .filter((file) => file.endsWith(".lua"))
    .map(read);
}

function shaOf(script: string): string {
  let sha = shas.get(script);
  if (sha === undefined) {
    sha = createHash("sha1").update(script).digest("hex");
    shas.set(script, sha);
  }
  return sha;
}

/**
 * A Redis in this process, with the commands that drover and BullMQ use. Scripts are run from their very text. Compared
 * with a real one by `test/redis/store-differential.test.ts`.
 */
export class FakeRedis {
  readonly keys: Keyspace;
  #scripts = new Map(LOADED);
  /** Changes with every start of the server. */
  runId = 1;

  readonly #breakScript: ((text: string) => string) | undefined;

  /** `breakScript`: runs another text than the one that was sent. */
  constructor(nowMs: () => number, breakScript?: (text: string) => string) {
    this.keys = new Keyspace(nowMs);
    this.#breakScript = breakScript;
  }

  /** The process is started anew: what is only in memory is gone. */
  restart(): void {
    this.#scripts = new Map();
    this.runId += 1;
  }

  scriptOf(sha: string): string | undefined {
    return this.#scripts.get(sha);
  }

  /** Carries out one command. Throws {@link ReplyError}. */
  execute({ name, args, batch }: Command): Reply | BatchReply {
    if (batch !== undefined) return batch.map((each) => this.#answer(each));
    return this.keys.asOne(() => this.#run(name, args));
  }

  #answer(command: Command): readonly [ReplyError | null, Reply] {
    try {
      return [null, this.keys.asOne(() => this.#run(command.name, command.args))];
    } catch (error) {
      if (error instanceof ReplyError) return [error, null];
      throw error;
    }
  }

  #run(name: string, args: readonly string[]): Reply {
    if (name === "EVAL") return this.#eval(args[0] ?? "", args);
    if (name === "EVALSHA") {
      const script = this.#scripts.get(args[0] ?? "");
      if (script === undefined) throw new ReplyError("NOSCRIPT No matching script.");
      return this.#eval(script, args);
    }
    if (name === "INFO") return `redis_version:7.0.15\r\nrun_id:${this.runId}\r\n`;
    const command = COMMANDS[name];
    if (command === undefined) throw new ReplyError(`ERR unknown command '${name}'`);
    return command(this.keys, args);
  }

  #eval(script: string, args: readonly string[]): Reply {
    this.#scripts.set(shaOf(script), script);
    const keyCount = Number(args[1]);
    const keys = args.slice(2, 2 + keyCount);
    const text = this.#breakScript?.(script) ?? script;
    return runScript(text, keys, args.slice(2 + keyCount), (command, given) => this.#run(command, given));
  }
}
