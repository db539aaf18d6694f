import { accessSync, constants, statSync } from "node:fs";
import { delimiter, isAbsolute, join, resolve } from "node:path";

/**
 * The absolute path of a program: a bare name is looked for in `searchPath` (as PATH), anything else is a path from
 * where we stand. Undefined where no such file may be run.
 */
export function findProgram(name: string, searchPath: string): string | undefined {
  if (name.includes("/")) {
    const path = isAbsolute(name) ? name : resolve(name);
    return isProgram(path) ? path : undefined;
  }
  return searchPath
    .split(delimiter)
    .filter(isAbsolute)
    .map((folder) => join(folder, name))
    .find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
