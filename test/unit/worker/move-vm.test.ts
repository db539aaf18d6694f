import { expect, test } from "vitest";
import type { MoveOutcome } from "../../../src/queue/launch-moves.ts";
import type { ReassertOutcome } from "../../../src/queue/ownership.ts";
import { launchFromDisk } from "../../../src/worker/launch.ts";
import { moveVm, saveLaunch } from "../../../src/worker/move-vm.ts";
import { StopRequest } from "../../../src/worker/stop-request.ts";
import { openFakeWorker } from "../../helpers/fake-worker.ts";
import { waitFor } from "../../helpers/wait-for.ts";

const READY = {
  to: "ready",
  event: { type: "vm.ready", data: { host: "host-a", epoch: 1, readyMs: 1 } },
  progress: {},
} as const;

/** As ioredis rejects what Redis refuses. */
function refusal(message: string): Error {
  const error = new Error(message);
  error.name = "ReplyError";
  return error;
}

/** A launch that is to become ready; each answer is given once, the last one for ever. */
function openMove(moves: readonly (MoveOutcome | Error)[], told: readonly (ReassertOutcome | Error)[] = []) {
  const worker = openFakeWorker();
  const left = worker.leave();
  const record = worker.records.get(left.paths.record);
  if (record === undefined) throw new Error("no record");
  const launch = launchFromDisk(record, undefined, left.paths);
  const stop = new StopRequest();
  const next = <T>(answers: readonly (T | Error)[]) => {
    let at = 0;
    return async () => {
      const answer = answers[Math.min(at++, answers.length - 1)];
      if (answer === undefined) throw new Error("not expected");
      if (answer instanceof Error) throw answer;
      return answer;
    };
  };
  worker.deps.launches.move = next(moves);
  worker.deps.ownership.reassert = next(told);
  return { worker, launch, stop, moved: moveVm(worker.deps, { launch, stop }, READY) };
}

/** Lets pauses pass until the move is done. */
async function settled({ worker, moved }: ReturnType<typeof openMove>): Promise<void> {
  let over = false;
  const done = moved.finally(() => {
    over = true;
  });
  done.catch(() => undefined);
  await waitFor(() => {
    worker.clock.advance(1_000);
    return over;
  });
  await done;
}

const REFUSALS = [
  "OOM command not allowed",
  "READONLY You can't write",
  "MISCONF Redis is configured",
  "LOADING Redis",
];

test.each(REFUSALS)(
  "a Redis that refuses a move (%s) is asked again: that is no evidence against a VM",
  async (text) => {
    const move = openMove([refusal(text), refusal(text), "done"]);
    await settled(move);
    expect(move.launch.state).toBe("ready");
  },
);

test.each(REFUSALS)("so is one that has lost the launch and refuses to hear of it (%s)", async (text) => {
  const move = openMove(["no_record", "done"], [refusal(text), { kind: "reasserted", lost: "record" }]);
  await settled(move);
  expect(move.launch.state).toBe("ready");
  expect(move.stop.reason).toBeUndefined();
});

test.each<ReassertOutcome>([
  { kind: "final", epoch: 1 },
  { kind: "superseded", epoch: 2 },
])("a launch that does not count any more is stopped by force: $kind", async (outcome) => {
  const move = openMove(["not_owner"], [outcome]);
  await expect(settled(move)).rejects.toBe("superseded");
  expect([move.stop.reason, move.stop.forced.aborted]).toEqual(["superseded", true]);
});

test("a launch that is stopped meanwhile asks once more and then lets it be", async () => {
  const move = openMove([refusal("READONLY")]);
  await waitFor(() => move.worker.clock.sleepers === 1);
  move.stop.ask("requested");
  await expect(settled(move)).rejects.toThrow("READONLY");
});

test("what is no refusal is not asked again", async () => {
  await expect(settled(openMove([new Error("Connection is closed.")]))).rejects.toThrow("Connection is closed.");
});

test.each([
  ["ENOSPC", "disk_full"],
  ["EIO", "state_dir_unusable"],
])("a launch whose record the disk does not take (%s) fails by the host's fault", async (code, cause) => {
  const { worker, launch } = openMove(["done"]);
  worker.deps.files.writeRecord = () => Promise.reject(Object.assign(new Error(code), { code }));
  await expect(saveLaunch(worker.deps, launch, { state: "starting" })).rejects.toMatchObject({
    failure: { code: cause },
  });
});
