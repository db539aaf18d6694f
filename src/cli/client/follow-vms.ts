import type { CloudEvent } from "../../contract/vm-event.ts";
import { isFinal } from "../../contract/vm-state.ts";
import type { VmDetail } from "../../contract/vm-view.ts";
import type { ApiClient } from "./api-client.ts";
import { type StreamItem, streamEvents } from "./event-stream.ts";

export interface FollowHandlers {
  readonly onEvent?: (event: CloudEvent) => void;
  readonly onEnd: (vm: VmDetail) => Promise<void> | void;
}

const FINAL_EVENTS: ReadonlySet<string> = new Set(["vm.completed", "vm.removed", "vm.expired", "vm.failed"]);

/**
 * Watches VMs to their end over one event stream. The stream is opened first, so a VM that is submitted afterwards is
 * seen from its first event on; what a gap may hide is looked up.
 */
export class VmFollower {
  readonly #api: ApiClient;
  readonly #handlers: FollowHandlers;
  readonly #stream: AsyncGenerator<StreamItem>;
  readonly #pending = new Set<string>();

  private constructor(api: ApiClient, handlers: FollowHandlers) {
    this.#api = api;
    this.#handlers = handlers;
    this.#stream = streamEvents(api.target, {});
  }

  /** Resolves when the stream stands. */
  static async open(api: ApiClient, handlers: FollowHandlers): Promise<VmFollower> {
    const follower = new VmFollower(api, handlers);
    await follower.#stream.next(); // the "open" item, or the connection's error
    return follower;
  }

  /** A VM to follow. `look` where it may have ended before the stream was opened. */
  async add(id: string, { look }: { readonly look: boolean }): Promise<void> {
    this.#pending.add(id);
    if (look) await this.#lookUp(id);
  }

  /** Returns when every added VM has ended. Events that came since `open` wait in the connection until now. */
  async untilAllEnded(): Promise<void> {
    try {
      while (this.#pending.size > 0) {
        const next = await this.#stream.next();
        if (next.done === true) return;
        const item = next.value;
        if (item.kind === "event") await this.#handle(item.event);
        else if (item.kind === "gap" || !item.complete) for (const id of [...this.#pending]) await this.#lookUp(id);
      }
    } finally {
      await this.close();
    }
  }

  async close(): Promise<void> {
    await this.#stream.return(undefined);
  }

  async #handle(event: CloudEvent): Promise<void> {
    if (!this.#pending.has(event.subject)) return;
    this.#handlers.onEvent?.(event);
    if (FINAL_EVENTS.has(event.type)) await this.#lookUp(event.subject);
  }

  async #lookUp(id: string): Promise<void> {
    const vm = await this.#api.get(id);
    if (!isFinal(vm.state) || !this.#pending.delete(id)) return;
    await this.#handlers.onEnd(vm);
  }
}
