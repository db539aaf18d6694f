import { DroverError } from "../../contract/errors.ts";
import type { BatchIntake } from "./batch-intake.ts";

type Outcome = Pick<BatchIntake, "accepted" | "rejected" | "problems" | "problemCount" | "headProblems">;

/** Why a batch that was read to its end is not accepted, or undefined when it is. */
export function batchInvalid(intake: Outcome, partial: boolean): DroverError | undefined {
  const { accepted, rejected, problems, problemCount, headProblems } = intake;
  const all = [...headProblems, ...problems];
  if (headProblems.length > 0) {
    return new DroverError("batch_invalid", "what holds for the whole batch is not valid; nothing was accepted", {
      problems: all,
    });
  }
  if (accepted + rejected === 0) {
    const message = "the batch holds no request; write one on each line, or a list of them as `items`";
    return new DroverError("batch_invalid", message, { problems: [{ field: "items", message: "holds no request" }] });
  }
  if (rejected === 0 || (partial && accepted > 0)) return undefined;
  const shown =
    problemCount > problems.length ? `; the first ${problems.length} of ${problemCount} problems follow` : "";
  const wayOut = accepted > 0 ? "; partial=true takes the others" : "";
  return new DroverError(
    "batch_invalid",
    `${rejected} of ${accepted + rejected} requests are not valid, and nothing was accepted${wayOut}${shown}`,
    { problems: all },
  );
}
