import { readFileSync, statSync } from "node:fs";
import { errnoOf } from "../../runtime/errno.ts";
import { UsageError } from "../cli-error.ts";

/** What may stand in a header; drover's own tokens are of letters, digits and underscores. */
const TOKEN_FORM = /^[\x21-\x7e]{1,512}$/;

/** The token of DROVER_TOKEN, else that of the file. Throws a usage error that never shows it. */
export function readToken(
  env: Readonly<Record<string, string | undefined>>,
  warn: (message: string) => void,
): string | undefined {
  const set = env["DROVER_TOKEN"] ?? "";
  if (set !== "") return checked(set, "DROVER_TOKEN");
  const path = env["DROVER_TOKEN_FILE"] ?? "";
  if (path === "") return undefined;
  try {
    const mode = statSync(path).mode & 0o777;
    if ((mode & 0o077) !== 0) {
      warn(`others may read the token in ${path} (mode ${mode.toString(8).padStart(4, "0")}): chmod 0600 ${path}`);
    }
    return checked(readFileSync(path, "utf8").trim(), `the file ${path}`);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`DROVER_TOKEN_FILE: the file ${path} cannot be read (${errnoOf(error) ?? "no file"})`, {
      hint: "Name a file that holds a token, or unset DROVER_TOKEN_FILE.",
      cause: error,
    });
  }
}

function checked(token: string, source: string): string {
  if (TOKEN_FORM.test(token)) return token;
  throw new UsageError(`${source} holds no token (its value is not shown)`, {
    hint: "Put there what `drover token add` printed, on one line and nothing else.",
  });
}
