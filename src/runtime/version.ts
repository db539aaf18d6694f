import { readFileSync } from "node:fs";
import { z } from "zod";

/** The version of this package. The file stands two levels above both src/runtime and dist/runtime. */
export const DROVER_VERSION = z
  .object({ version: z.string() })
  .parse(JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"))).version;
