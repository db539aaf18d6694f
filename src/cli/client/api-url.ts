import { UsageError } from "../cli-error.ts";

export const DEFAULT_URL = "http://127.0.0.1:7003";

/** Where the API is: `--url`, else DROVER_URL, else this machine. Keeps a path, for an API behind a proxy. */
export function resolveApiUrl(flag: string | undefined, env: Readonly<Record<string, string | undefined>>): URL {
  const fromEnv = env["DROVER_URL"] === "" ? undefined : env["DROVER_URL"];
  const text = flag ?? fromEnv ?? DEFAULT_URL;
  const name = flag === undefined ? "DROVER_URL" : "--url";
  const example = `write it like ${DEFAULT_URL}`;
  if (!URL.canParse(text)) throw new UsageError(`${name} is not a URL: "${text}"`, { hint: example });
  const url = new URL(text);
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new UsageError(`${name} must start with http:// or https:// (got "${text}")`, { hint: example });
  }
  if (url.username !== "" || url.password !== "") {
    throw new UsageError(
      `${name} must not hold a user or password: they would show up in the process list and in logs`,
    );
  }
  url.search = "";
  url.hash = "";
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return url;
}
