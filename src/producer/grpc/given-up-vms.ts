import { DroverError } from "../../contract/errors.ts";
import { pause } from "../../runtime/bounded-wait.ts";
import type { ApiDeps } from "../api-deps.ts";
import { removeVm } from "../change-vm.ts";
import { audited } from "./audited.ts";
import type { UnaryCall } from "./unary-call.ts";

/** Removals that Redis could not take are tried again this often, and for this long. */
const AGAIN_MS = 500;
const TRY_MAX_MS = 60_000;

/** Removes the VMs that nobody waits for any more, also while Redis is away for a moment. */
export class GivenUpVms {
  readonly #deps: ApiDeps;
  readonly #stopping = new AbortController();
  readonly #removing = new Set<Promise<void>>();

  constructor(deps: ApiDeps) {
    this.#deps = deps;
  }

  /** Returns when the removal was asked for, or its first try failed: it is tried again then, by itself. */
  async remove(vmId: string, caller: Pick<UnaryCall<unknown>, "principal" | "remote">): Promise<void> {
    if (await this.#try(vmId, caller)) return;
    const again = this.#tryAgain(vmId, caller).finally(() => this.#removing.delete(again));
    this.#removing.add(again);
  }

  /** Each removal is tried once more. What could not be removed runs on, as its owner can see. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#removing);
  }

  async #tryAgain(vmId: string, caller: Pick<UnaryCall<unknown>, "principal" | "remote">): Promise<void> {
    const untilMs = performance.now() + TRY_MAX_MS;
    while (performance.now() < untilMs && !this.#stopping.signal.aborted) {
      await pause(AGAIN_MS, this.#stopping.signal).catch(() => undefined); // aborted: this is the last look
      if ((await this.#isRedisBack()) && (await this.#try(vmId, caller))) return;
    }
    this.#deps.logger.warn({ vmId }, "a VM that its caller gave up is kept: its removal could not be asked for");
  }

  /** Asked first: of thousands of calls that an outage ends, each would fill log and audit twice a second. */
  async #isRedisBack(): Promise<boolean> {
    return this.#deps.gate.check().then(
      () => true,
      () => false,
    );
  }

  async #try(vmId: string, caller: Pick<UnaryCall<unknown>, "principal" | "remote">): Promise<boolean> {
    try {
      await audited(this.#deps, caller, "vm.remove", async (target) => {
        target(vmId);
        await removeVm(this.#deps, caller.principal, { vmId, force: false });
      });
      return true;
    } catch (error) {
      if (error instanceof DroverError && (error.code === "vm_not_found" || error.code === "vm_gone")) return true;
      this.#deps.logger.warn({ vmId, err: error }, "a VM that its caller gave up could not be removed yet");
      return false;
    }
  }
}
