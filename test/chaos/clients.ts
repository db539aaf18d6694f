import { setTimeout as delay } from "node:timers/promises";
import type { VmState } from "../../src/contract/vm-state.ts";
import { canariesIn, SECRET_FIELDS } from "../helpers/canaries.ts";
import type { Recorder } from "./history.ts";
import type { PlannedOp } from "./plan.ts";
import { modeField } from "./truth-qemu.ts";

interface Submission {
  readonly key: string;
  readonly body: Record<string, unknown>;
  readonly attempts: number;
  readonly plan: PlannedOp;
  vmId: string | undefined;
  isRemoved: boolean;
}

interface Answer {
  readonly status: number;
  readonly id: string | undefined;
  readonly state: VmState | undefined;
  readonly replayed: boolean;
}

const ANSWER_MS = 4_000;
const AGAIN_MS = 250;
/** So many removals at a time at the end: all of them at once would be a fault of its own. */
const REMOVERS = 6;
/** A client does not pile up work without end while nothing moves. */
const OPEN_MAX = 40;

/**
 * The clients of a run: they submit with idempotency keys, send again what was not answered, remove, retry by hand and
 * look. What they ask and hear goes into the history.
 */
export class Clients {
  readonly #url: string;
  readonly #recorder: Recorder;
  readonly #submissions: Submission[] = [];
  readonly #running = new Set<Promise<void>>();
  readonly #seed: string;
  #ops = 0;
  /** From now on nobody gives up: what is open has to be known at the end. */
  #insists = false;
  #closed = false;

  constructor({ url, recorder, seed }: { url: string; recorder: Recorder; seed: string }) {
    this.#url = url;
    this.#recorder = recorder;
    this.#seed = seed;
  }

  get submissions(): readonly Readonly<Submission>[] {
    return this.#submissions;
  }

  /** Begins with an operation; it goes on by itself until its answer is known. */
  begin(op: PlannedOp): void {
    if (this.#running.size > OPEN_MAX) return;
    const task = this.#act(op).finally(() => this.#running.delete(task));
    this.#running.add(task);
    task.catch(() => undefined); // `settle` tells of it
  }

  /**
   * Removes all VMs whose clients have left that to the end, but not those that are to stay; `again` those as well whose
   * removal was asked for before: Redis may have lost the wish.
   */
  removeRest({ again }: { again: boolean }): void {
    this.#insists = true;
    this.#removeAll(this.#submissions.filter(({ isRemoved, plan }) => (again || !isRemoved) && !isStayer(plan)));
  }

  removeStayers(): void {
    this.#removeAll(this.#submissions.filter(({ isRemoved, plan }) => !isRemoved && isStayer(plan)));
  }

  #removeAll(submissions: readonly Submission[]): void {
    const rest = [...submissions];
    const one = async () => {
      for (let next = rest.shift(); next !== undefined; next = rest.shift()) await this.#remove(next, true);
    };
    for (let clients = 0; clients < REMOVERS; clients++) this.#track(one());
  }

  /** Waits until every answer is known, or nobody insists on it. Throws what went wrong in a client. */
  async settle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /** What is not answered now never will be. */
  close(): void {
    this.#closed = true;
  }

  #track(work: Promise<void>): void {
    const task = work.finally(() => this.#running.delete(task));
    this.#running.add(task);
    task.catch(() => undefined);
  }

  async #act(op: PlannedOp): Promise<void> {
    const own = this.#submissions.filter(({ plan, vmId }) => plan.client === op.client && vmId !== undefined);
    const chosen = own[Math.floor(op.pick * own.length)];
    if (op.kind === "submit") return this.#submit(op);
    if (chosen === undefined) return;
    if (op.kind === "resend") return this.#send(chosen, op.careless);
    if (op.kind === "get") return this.#get(op.client, chosen);
    if (op.kind === "retry") return this.#retry(op.client, chosen);
    if (!isStayer(chosen.plan)) return this.#remove(chosen, op.force);
  }

  async #submit(op: PlannedOp): Promise<void> {
    const key = `${this.#seed}-${this.#submissions.length + 1}`;
    const body = {
      name: key,
      attempts: op.attempts,
      ...(op.ttlMs === undefined ? {} : { ttl: `${op.ttlMs}ms` }),
      ...SECRET_FIELDS,
      aaKbsParams: `${SECRET_FIELDS.aaKbsParams}${modeField(op.guest)}`,
    };
    const submission: Submission = { key, body, attempts: op.attempts, plan: op, vmId: undefined, isRemoved: false };
    this.#submissions.push(submission);
    await this.#send(submission, op.careless);
    if (this.#insists && !isStayer(op)) return this.#remove(submission, true); // accepted when the others were removed
    if (op.removeAfterMs === undefined) return;
    await delay(op.removeAfterMs);
    await this.#remove(submission, op.force);
  }

  /** Until there is an answer; the key makes every further try harmless. */
  async #send(submission: Submission, careless: boolean): Promise<void> {
    const { key, attempts, body } = submission;
    const process = submission.plan.client;
    for (;;) {
      const op = ++this.#ops;
      this.#recorder.add("submit", { op, key, attempts }, { process, type: "invoke" });
      const answer = await this.#call("POST", "/v1/vms", { body, headers: { "idempotency-key": key } });
      const outcome = outcomeOf(answer);
      const value = {
        op,
        key,
        attempts,
        ...(answer === undefined ? {} : { status: answer.status, replayed: answer.replayed }),
      };
      this.#recorder.add("submit", value, { process, type: outcome, vmId: outcome === "ok" ? answer?.id : undefined });
      if (outcome === "ok") {
        // Only where Redis has lost the key does it mean another VM; the first one is still this client's to remove.
        if (submission.vmId !== undefined && submission.vmId !== answer?.id) this.#submissions.push({ ...submission });
        submission.vmId = answer?.id;
      }
      if (outcome !== "info" || this.#closed || (careless && !this.#insists)) return;
      await delay(AGAIN_MS);
    }
  }

  async #remove(submission: Submission, force: boolean): Promise<void> {
    const { vmId, plan } = submission;
    if (vmId === undefined) return;
    submission.isRemoved = true;
    for (;;) {
      const op = ++this.#ops;
      this.#recorder.add("remove", { op, force }, { process: plan.client, type: "invoke", vmId });
      const answer = await this.#call("DELETE", `/v1/vms/${vmId}${force ? "?force=true" : ""}`);
      const type = outcomeOf(answer);
      this.#recorder.add("remove", { op, force, ...told(answer) }, { process: plan.client, type, vmId });
      if (type !== "info" || this.#closed) return;
      await delay(AGAIN_MS);
    }
  }

  async #retry(process: string, { vmId }: Submission): Promise<void> {
    const op = ++this.#ops;
    this.#recorder.add("retry", { op }, { process, type: "invoke", vmId });
    const answer = await this.#call("POST", `/v1/vms/${vmId}/retry`);
    const status = answer === undefined ? {} : { status: answer.status };
    this.#recorder.add("retry", { op, ...status }, { process, type: outcomeOf(answer), vmId });
  }

  async #get(process: string, { vmId }: Submission): Promise<void> {
    const op = ++this.#ops;
    this.#recorder.add("get", { op }, { process, type: "invoke", vmId });
    const answer = await this.#call("GET", `/v1/vms/${vmId}`);
    this.#recorder.add("get", { op, ...told(answer) }, { process, type: outcomeOf(answer), vmId });
  }

  /** Undefined: no answer came, so nobody knows. */
  async #call(
    method: string,
    path: string,
    { body, headers = {} }: { body?: unknown; headers?: Record<string, string> } = {},
  ): Promise<Answer | undefined> {
    try {
      const response = await fetch(`${this.#url}${path}`, {
        method,
        signal: AbortSignal.timeout(ANSWER_MS),
        headers: { ...headers, ...(body === undefined ? {} : { "content-type": "application/json" }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      const fields = canariesIn(text);
      if (fields.length > 0)
        this.#recorder.add(
          "canary",
          { place: `the answer to ${method} ${path}`, fields, allowed: false },
          { process: "clients" },
        );
      const read = JSON.parse(text) as { id?: string; state?: VmState; replayed?: boolean }; // the API's own answer
      return { status: response.status, id: read.id, state: read.state, replayed: read.replayed === true };
    } catch {
      return undefined; // refused, reset, cut within the answer, or too late
    }
  }
}

export function isStayer(op: PlannedOp): boolean {
  return op.guest === "patient" && op.ttlMs === undefined && op.removeAfterMs === undefined && op.attempts === 5;
}

function told(answer: Answer | undefined): { status?: number; state?: VmState } {
  if (answer === undefined) return {};
  return { status: answer.status, ...(answer.state === undefined ? {} : { state: answer.state }) };
}

/** 5xx may come after the deed: nobody knows. */
function outcomeOf(answer: Answer | undefined): "ok" | "fail" | "info" {
  if (answer === undefined || answer.status >= 500 || answer.status === 429) return "info";
  return answer.status < 300 ? "ok" : "fail";
}
