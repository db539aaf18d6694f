import { execa } from "execa";
import { type Confinement, confinedCommand } from "./confinement.ts";

const ANSWER_MS = 5_000;
const TEST_PROGRAM = "/usr/bin/test";

/**
 * Those of the files that QEMU's user may not read (with `-r`), write (`-w`) or enter (`-x`), asked by that user itself,
 * so that every directory on the way, every group and every access list counts. Starts one small program for each.
 */
export async function refusedTo(
  user: Extract<Confinement, { kind: "user" }>,
  wishes: readonly { readonly path: string; readonly access: "-r" | "-w" | "-x" }[],
): Promise<readonly string[]> {
  const answers = await Promise.all(
    wishes.map(async ({ path, access }) => {
      const [file = "", ...args] = confinedCommand(user, [TEST_PROGRAM, access, path]);
      const { failed } = await execa(file, args, { stdin: "ignore", reject: false, timeout: ANSWER_MS });
      return failed ? path : undefined;
    }),
  );
  return [...new Set(answers.filter((path) => path !== undefined))];
}
