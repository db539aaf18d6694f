import type { Logger } from "pino";
import type { Actor, World } from "./world.ts";

const LEVELS = ["debug", "info", "warn", "error"] as const;

/** A logger whose lines become a part of the world's story, if that is told. */
export function storyLogger(world: World, actor: Actor): Logger {
  const write = (level: string) => (facts: unknown, message?: string) => {
    world.tell(actor.name, () => `[${level}] ${message ?? ""} ${describe(facts)}`);
  };
  const logger = Object.fromEntries(LEVELS.map((level) => [level, write(level)]));
  return { ...logger, child: () => logger } as unknown as Logger; // what drover calls of it
}

function describe(facts: unknown): string {
  return JSON.stringify(facts, (_key, value: unknown) =>
    value instanceof Error ? `${value.name}: ${value.message.slice(0, 200)}` : value,
  ).slice(0, 300);
}
