import { isDeepStrictEqual } from "node:util";
import type { HostRoom } from "../queue/host-description.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import type { VmRuns } from "./vm-runs.ts";

/** Tells the fleet what room this host has, where that has changed: for answers why a VM waits. */
export class RoomTeller {
  readonly #runs: Pick<VmRuns, "room">;
  readonly #lease: Pick<LeaseKeeper, "describe">;
  #told: HostRoom | undefined;

  constructor({ runs, lease }: { runs: Pick<VmRuns, "room">; lease: Pick<LeaseKeeper, "describe"> }) {
    this.#runs = runs;
    this.#lease = lease;
  }

  async step(): Promise<void> {
    const { sizes, gpu, ...numbers } = this.#runs.room;
    const room: HostRoom = { ...numbers, sizes: [...sizes], gpu: gpu !== false };
    if (isDeepStrictEqual(room, this.#told)) return;
    this.#told = room;
    this.#lease.describe({ room });
  }
}
