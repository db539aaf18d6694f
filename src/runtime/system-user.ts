import { execa } from "execa";

const ANSWER_MS = 5_000;

/** A user of this machine. */
export interface SystemUser {
  readonly name: string;
  readonly uid: number;
  /** Of the user's first group. */
  readonly gid: number;
}

/**
 * The user with this name or number, or undefined when there is none. Asks the system (`getent`), which knows also
 * users that are in no file of this machine.
 * Throws when `getent` cannot be run or does not answer within 5 s.
 */
export async function findUser(nameOrNumber: string): Promise<SystemUser | undefined> {
  const NOT_FOUND = 2;
  const result = await execa("getent", ["passwd", nameOrNumber], {
    stdin: "ignore",
    reject: false,
    timeout: ANSWER_MS,
  });
  if (result.exitCode === NOT_FOUND) return undefined;
  if (result.failed) throw new Error(`the users of this machine cannot be asked for: ${result.shortMessage}`);
  const [name = "", , uid, gid] = result.stdout.split("\n")[0]?.split(":") ?? [];
  return { name, uid: Number(uid), gid: Number(gid) };
}
