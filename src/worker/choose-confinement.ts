import type { Logger } from "pino";
import type { Confinement } from "../qemu/confinement.ts";
import { findConfinement, sudoProblem } from "../qemu/find-confinement.ts";
import { findLimitWay } from "../qemu/find-limit-way.ts";
import { Limiter } from "../qemu/limiter.ts";
import { qemuLimits } from "../qemu/qemu-limits.ts";
import type { Config } from "../runtime/config-shape.ts";
import { forbidCoreDumps } from "../runtime/core-dumps.ts";

/**
 * With whose rights this worker runs QEMU. Also keeps the worker and all that it starts from leaving memory on disk.
 * What does not work and ends no start is logged. Throws DroverError `config_invalid` as `findConfinement` does.
 */
export async function chooseConfinement(config: Config, logger: Logger): Promise<Confinement> {
  const confinement = await findConfinement(config);
  const refused = await sudoProblem(confinement, config.qemu.binPath);
  if (refused !== undefined) logger.warn({ todo: refused.todo }, `QEMU cannot be started: ${refused.problem}`);
  const dumps = await forbidCoreDumps();
  if (dumps !== undefined) logger.warn({ reason: dumps }, "a crash could leave the memory of a VM in a core dump");
  return confinement;
}

/** How much each QEMU of this worker may use. Throws DroverError `config_invalid` as `findLimitWay` does. */
export function chooseLimits(config: Config, stateDir: string, logger: Logger): Limiter {
  const way = findLimitWay(config.qemuProcess, "use");
  const limits = qemuLimits(config);
  if (way.kind !== "off") logger.info({ ...way, ...limits }, "QEMU is limited");
  else if (way.reason !== undefined) logger.info({ reason: way.reason }, "QEMU is not limited on this host");
  const limiter = new Limiter(way, limits, stateDir);
  limiter.sweep();
  return limiter;
}
