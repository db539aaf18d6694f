import { randomUUID } from "node:crypto";
import type { PortHolder, PortSlots } from "../../src/queue/port-slots.ts";

export interface StormResult {
  readonly operations: number;
  readonly takes: number;
  readonly gives: number;
  readonly refused: number;
  /** Each is a broken promise, in words. Must be empty. */
  readonly violations: readonly string[];
}

/**
 * Many clients take and give ports at once, each over a connection of its own, and a ground truth outside Redis watches:
 * a port never has two holders, a give by a stranger changes nothing, a second take gives the same port.
 */
export async function portStorm(clients: readonly PortSlots[], operations: number): Promise<StormResult> {
  const holderOf = new Map<number, string>();
  const violations: string[] = [];
  const count = { takes: 0, gives: 0, refused: 0, done: 0 };
  const onePath = async (ports: PortSlots): Promise<void> => {
    const held: { holder: PortHolder; port: number }[] = [];
    while (count.done++ < operations) {
      const dice = Math.random();
      const last = held.at(-1);
      if (last !== undefined && dice < 0.45) {
        held.pop();
        // Forgotten before it is given: from the moment Redis gives it back another client may hold it.
        holderOf.delete(last.port);
        if (!(await ports.give(last.holder, last.port)))
          violations.push(`the holder of ${last.port} could not give it back`);
        count.gives += 1;
      } else if (last !== undefined && dice < 0.5) {
        if (await ports.give({ ...last.holder, token: "stranger" }, last.port))
          violations.push(`a stranger gave ${last.port} back`);
      } else if (last !== undefined && dice < 0.55) {
        const again = await ports.take(last.holder);
        if (again !== last.port) violations.push(`a second take gave ${again} instead of ${last.port}`);
      } else {
        const holder = { vmId: randomUUID(), epoch: 1, token: randomUUID() };
        const port = await ports.take(holder);
        if (port === undefined) {
          count.refused += 1;
          continue;
        }
        const other = holderOf.get(port);
        if (other !== undefined) violations.push(`${port} is held by ${other} and ${holder.vmId}`);
        holderOf.set(port, holder.vmId);
        held.push({ holder, port });
        count.takes += 1;
      }
    }
    for (const { holder, port } of held) {
      holderOf.delete(port);
      if (!(await ports.give(holder, port))) violations.push(`${port} was lost: its holder could not give it back`);
      count.gives += 1;
    }
  };
  await Promise.all(clients.map(onePath));
  return { operations, takes: count.takes, gives: count.gives, refused: count.refused, violations };
}
