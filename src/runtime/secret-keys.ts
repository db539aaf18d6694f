import { createSecretKey, type KeyObject, randomBytes } from "node:crypto";
import { open, readFile, stat } from "node:fs/promises";
import { DroverError, type FieldProblem } from "../contract/errors.ts";
import type { Config } from "./config-shape.ts";

const SECRET_KEY_BYTES = 32;
const KEY_ID = /^[A-Za-z0-9_-]{1,32}$/;
const BASE64 = /^[A-Za-z0-9+/_-]+={0,2}$/;

/**
 * The keys that secrets are sealed with. The first one seals, all of them open, so that a key is changed by putting
 * the new one in front and leaving the old one until no box needs it. KeyObjects do not show their bytes when printed.
 */
export interface SecretKeys {
  readonly sealingId: string;
  readonly byId: ReadonlyMap<string, KeyObject>;
}

/**
 * Reads `id:base64`, several separated by commas or line ends. Throws `config_invalid` with every problem; the messages
 * hold no key bytes.
 */
export function parseSecretKeys(text: string, source: string): SecretKeys {
  const problems: FieldProblem[] = [];
  const byId = new Map<string, KeyObject>();
  const entries = text
    .split(/[,\n]/)
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
  entries.forEach((entry, index) => {
    const problem = addKey(byId, entry);
    if (problem !== undefined) problems.push({ field: source, message: `key ${index + 1} ${problem}` });
  });
  const [sealingId] = byId.keys();
  if (entries.length === 0) problems.push({ field: source, message: "holds no key" });
  if (problems.length > 0 || sealingId === undefined) {
    const listed = problems.map(({ field, message }) => `${field}: ${message}`).join("; ");
    throw new DroverError(
      "config_invalid",
      `${listed}. Write id:base64 of ${SECRET_KEY_BYTES} bytes, several separated by commas or line ends; \`drover key new\` makes one.`,
      { problems },
    );
  }
  return { sealingId, byId };
}

/** What is wrong with an entry. Its id is not repeated: somebody may have written key and id the wrong way round. */
function addKey(byId: Map<string, KeyObject>, entry: string): string | undefined {
  const colon = entry.indexOf(":");
  if (colon < 1) return "has no id before a colon";
  const id = entry.slice(0, colon);
  const encoded = entry.slice(colon + 1);
  if (!KEY_ID.test(id)) return "has an id that is not 1 to 32 letters, digits, dashes or underscores";
  if (byId.has(id)) return "uses an id a second time";
  if (!BASE64.test(encoded)) return "is not base64";
  const bytes = Buffer.from(encoded, "base64"); // takes base64url as well
  if (bytes.length !== SECRET_KEY_BYTES) return `has ${bytes.length} bytes, not ${SECRET_KEY_BYTES}`;
  byId.set(id, createSecretKey(bytes));
  bytes.fill(0);
  return undefined;
}

/**
 * The keys of this process: those of DROVER_SECRETS_KEY, else those of the key file, else undefined. A key file that
 * others may read or write is refused.
 */
export async function loadSecretKeys({ keys, keyFile }: Config["secrets"]): Promise<SecretKeys | undefined> {
  if (keys !== "") return parseSecretKeys(keys, "DROVER_SECRETS_KEY");
  if (keyFile === "") return undefined;
  const file = await stat(keyFile).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw new DroverError("config_invalid", `the key file ${keyFile} cannot be read`, { cause: error });
  });
  if (file === undefined) return undefined;
  if ((file.mode & 0o077) !== 0) {
    const mode = (file.mode & 0o777).toString(8).padStart(4, "0");
    throw new DroverError(
      "config_invalid",
      `the key file ${keyFile} has mode ${mode}: others may read it. Mend it with \`chmod 0600 ${keyFile}\`.`,
    );
  }
  return parseSecretKeys(await readFile(keyFile, "utf8"), keyFile);
}

/**
 * A new random key, as a line of a key file. Without an id it gets a random one: keys of two machines must not be mixed
 * up. Throws `invalid_request` for an id that no key can have.
 */
export function newSecretKeyLine(id = `k${randomBytes(4).toString("hex")}`): string {
  if (!KEY_ID.test(id)) {
    const message = "a key's id is 1 to 32 letters, digits, dashes or underscores";
    throw new DroverError("invalid_request", message, { problems: [{ field: "--id", message }] });
  }
  return `${id}:${randomBytes(SECRET_KEY_BYTES).toString("base64")}\n`;
}

/** Makes a key file with one random key, mode 0600, unless there is one; what is there is never touched. */
export async function ensureSecretKeyFile(path: string): Promise<void> {
  const file = await open(path, "wx", 0o600).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return undefined;
    throw error;
  });
  if (file === undefined) return;
  try {
    await file.writeFile(newSecretKeyLine());
    await file.sync();
  } finally {
    await file.close();
  }
}
