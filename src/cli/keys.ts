import { stat } from "node:fs/promises";
import { join } from "node:path";
import { SealedBoxes } from "../queue/sealed-boxes.ts";
import { pause } from "../runtime/bounded-wait.ts";
import type { Config } from "../runtime/config-shape.ts";
import { loadSecretKeys, newSecretKeyLine, type SecretKeys } from "../runtime/secret-keys.ts";
import { askRedis } from "./ask-redis.ts";
import { CliError, UsageError } from "./cli-error.ts";
import { EXIT } from "./exit-codes.ts";
import { alsoOpenWith, dropKey, keyIdsOf, makeFirst, sealWith } from "./key-file.ts";
import { configFrom } from "./server-setup.ts";
import { jsonDocument } from "./session.ts";
import type { CliContext } from "./terminal.ts";

/** API and workers look at their key file once a second; a request that they had begun to seal is stored by then, too. */
const READ_BY_ALL_MS = 2_500;

export interface KeyOptions {
  readonly file: string | undefined;
  readonly json: boolean;
}

/** `drover key new`: prints a new key, or puts it first into a key file. */
export async function newKey(context: CliContext, { file, id, json }: KeyOptions & { id: string | undefined }) {
  const line = newSecretKeyLine(id);
  if (file === undefined) {
    const key = line.trim();
    return context.terminal.out(json ? jsonDocument({ id: key.slice(0, key.indexOf(":")), key }) : line);
  }
  await sealWith(file, line);
  return tell(context, { file, json });
}

/** `drover key add`: a key from the standard input that opens and does not seal. */
export async function addKey(context: CliContext, options: KeyOptions): Promise<void> {
  const file = fileOf(context, options);
  await alsoOpenWith(file, (await context.terminal.readStdin()).toString("utf8"));
  return tell(context, { file, json: options.json });
}

/** `drover key use ID`. */
export async function useKey(context: CliContext, id: string, options: KeyOptions): Promise<void> {
  const file = fileOf(context, options);
  await makeFirst(file, id);
  return tell(context, { file, json: options.json });
}

/** `drover key rm ID`: refused while a box in Redis needs the key, or nobody can tell. */
export async function removeKey(
  context: CliContext,
  id: string,
  options: KeyOptions & { force: boolean },
): Promise<void> {
  const file = fileOf(context, options);
  if (!options.force) {
    await untilRead(file, context.signal);
    const boxes = await withBoxes(context, (sealed) => sealed.countByKey(context.signal));
    const needing = boxes.get(id) ?? 0;
    if (needing > 0) {
      throw new CliError(`${boxCount(needing)} in Redis can be opened with key ${id} only`, {
        code: "key_in_use",
        hint: "Seal them with the new key first: drover key reseal. To give them up: --force.",
      });
    }
  }
  await dropKey(file, id);
  return tell(context, { file, json: options.json });
}

/** `drover key ls`: ids only. */
export async function listKeys(context: CliContext, options: KeyOptions): Promise<void> {
  if (options.file === undefined) {
    const { secrets } = configFrom(context);
    if (secrets.keys !== "") {
      const keys = await loadSecretKeys(secrets);
      return tellIds(context, [...(keys?.byId.keys() ?? [])], { file: "DROVER_SECRETS_KEY", json: options.json });
    }
  }
  return tell(context, { file: fileOf(context, options), json: options.json });
}

/** `drover key reseal`: every box in Redis gets the key that seals. Ends with 1 where a box cannot be opened. */
export async function resealAll(context: CliContext, { file, json }: KeyOptions): Promise<void> {
  const keys = await keysInForce(context, file);
  const { terminal, signal } = context;
  const outcome = await withBoxes(context, (boxes) => boxes.reseal(keys, signal));
  const { resealed, current, unreadable } = outcome;
  if (json) await terminal.out(jsonDocument({ sealingId: keys.sealingId, ...outcome }));
  else
    await terminal.out(
      `${boxCount(resealed)} sealed again with key ${keys.sealingId}, ${current} had it before, ${unreadable.length} cannot be opened.\n`,
    );
  if (unreadable.length === 0) return;
  const ids = [...new Set(unreadable.map(({ keyId }) => keyId))].join(", ");
  terminal.err(
    `Boxes that cannot be opened were sealed with: ${ids}. Add that key (drover key add) and do it again.\n`,
  );
  context.setExitCode(EXIT.failed);
}

async function keysInForce(context: CliContext, file: string | undefined): Promise<SecretKeys> {
  const secrets = file === undefined ? secretsOf(configFrom(context)) : { keys: "", keyFile: file };
  const keys = await loadSecretKeys(secrets);
  if (keys !== undefined) return keys;
  throw new CliError("there is no key to seal with", {
    code: "secrets_key_missing",
    exitCode: EXIT.usage,
    hint: "Name the key file with --file, or set DROVER_SECRETS_KEY_FILE as for the API.",
  });
}

/** Waits until every process has read a file that was changed just now: one that has not seals with the key of before. */
async function untilRead(file: string, signal: AbortSignal): Promise<void> {
  const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: 0 })); // a file that is not there is refused later
  const leftMs = mtimeMs + READ_BY_ALL_MS - Date.now();
  if (leftMs > 0) await pause(Math.min(leftMs, READ_BY_ALL_MS), signal);
}

/** The file that `--file` names, else the configured one, else that of `drover up`. */
function fileOf(context: CliContext, { file }: KeyOptions): string {
  if (file !== undefined) return file;
  const config = configFrom(context);
  if (config.secrets.keys === "") return secretsOf(config).keyFile;
  throw new UsageError("the keys stand in DROVER_SECRETS_KEY, which only whoever sets it can change", {
    hint: "Move them into a file for DROVER_SECRETS_KEY_FILE, or name a file with --file.",
  });
}

function secretsOf({ secrets, stateDir }: Config): Config["secrets"] {
  return secrets.keys === "" && secrets.keyFile === "" ? { keys: "", keyFile: join(stateDir, "secrets.key") } : secrets;
}

function withBoxes<T>(context: CliContext, use: (boxes: SealedBoxes) => Promise<T>): Promise<T> {
  return askRedis(context, (redis, keys) => use(new SealedBoxes({ redis, keys })));
}

async function tell(context: CliContext, { file, json }: { file: string; json: boolean }): Promise<void> {
  return tellIds(context, await keyIdsOf(file), { file, json });
}

async function tellIds(
  { terminal }: CliContext,
  ids: readonly string[],
  { file, json }: { file: string; json: boolean },
): Promise<void> {
  if (json) return terminal.out(jsonDocument({ source: file, sealingId: ids[0], ids }));
  const width = Math.max(...ids.map((id) => id.length));
  await terminal.out(ids.map((id, at) => `${id.padEnd(width)}  ${at === 0 ? "seals and opens" : "opens"}\n`).join(""));
}

function boxCount(count: number): string {
  return count === 1 ? "1 box" : `${count} boxes`;
}
