import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

// Debian keeps some tools in sbin, which an ordinary user's PATH leaves out.
const DIRECTORIES = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"].filter(Boolean);

/**
 * @param {string} name
 * @returns {string | undefined} where the command is, if it is installed
 */
export function findCommand(name) {
  return DIRECTORIES.map((directory) => join(directory, name)).find(isExecutable);
}

/**
 * Runs a command to its end. Rejects with the end of what it wrote when it fails.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 * @returns {Promise<Buffer>} its stdout
 */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    /** @type {Buffer[]} */
    const stdout = [];
    let stderr = "";
    child.stdout.on("data", (chunk) => stdout.push(chunk));
    child.stderr.on("data", (chunk) => {
      stderr = (stderr + chunk).slice(-4000);
    });
    child.on("error", (cause) => reject(new Error(`${command} could not be started: ${cause.message}`, { cause })));
    child.on("close", (code, signal) => {
      if (code === 0) resolve(Buffer.concat(stdout));
      else {
        const said = stderr.trim() || Buffer.concat(stdout).toString().trim().slice(-4000);
        reject(new Error(`${[command, ...args].join(" ")}\nended with ${signal ?? code}: ${said}`));
      }
    });
  });
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
