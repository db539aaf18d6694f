// Several hosts of a fleet in one process: `hosts.ts <directory> <number of the first> <count>`. Settings come by the
// environment. Says `ready` once all of them fetch, and ends with SIGTERM; VMs that still run are stopped.
import { join } from "node:path";
import { loadConfig } from "../../src/runtime/config/load-config.ts";
import { createLogger } from "../../src/runtime/logger.ts";
import { startWorker } from "../../src/worker/start-worker.ts";

const PORTS_PER_HOST = 20;
const FIRST_PORT = 12_000;

const [, , dir = "", first = "0", count = "1"] = process.argv;
const logger = createLogger({
  level: "error",
  name: "worker",
  destination: { write: (line) => process.stderr.write(line) },
});
const numbers = Array.from({ length: Number(count) }, (_, index) => Number(first) + index);
const workers = await Promise.all(
  numbers.map((number) => {
    const port = FIRST_PORT + number * PORTS_PER_HOST;
    const { config } = loadConfig({
      ...process.env,
      DROVER_STATE_DIR: join(dir, `h${number}`),
      MANAGER_INSTANCE_ID: `host-${number}`,
      MANAGER_QEMU_HOST_FWD_RANGE: `${port}-${port + PORTS_PER_HOST - 1}`,
    });
    return startWorker({ config, logger });
  }),
);
process.once("SIGTERM", async () => {
  await Promise.all(workers.map((worker) => worker.stop("stop")));
  process.exit();
});
process.stdout.write("ready\n");
