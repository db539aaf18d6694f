import { readFileSync } from "node:fs";

/** What systemd makes of a file with one assignment on each line (EnvironmentFile=): quotes go, comments do not count. */
export function readEnvironmentFile(text: string): Record<string, string> {
  const lines = text.split("\n").map((line) => line.trim());
  const assignments = lines.filter((line) => line !== "" && !/^[#;]/.test(line));
  return Object.fromEntries(
    assignments.map((line) => {
      const [, name = "", quoted, plain = ""] = /^(\w+)=(?:"([^"]*)"|'[^']*'|(.*))$/.exec(line) ?? [];
      const single = /^\w+='([^']*)'$/.exec(line)?.[1];
      return [name, quoted ?? single ?? plain];
    }),
  );
}

/** The cocos-manager.env that Cocos ships. */
export const SHIPPED_ENVIRONMENT = readEnvironmentFile(readFileSync("test/fixtures/cocos-manager.env", "utf8"));
