import { DamagedFile } from "../../../src/qemu/durable-file.ts";
import { type VmPaths, vmPaths } from "../../../src/qemu/vm-paths.ts";
import { EndPlan } from "../../../src/worker/end-plan.ts";
import type { LaunchFiles } from "../../../src/worker/launch-files.ts";
import { parseLocalRecord, StoredRecord } from "../../../src/worker/local-record.ts";
import type { SimDirectory, SimHost } from "./sim-host.ts";

export const STATE_DIR = "/s";

/** `<vmId>/<epoch>`, by which a host knows the directory. */
export function keyOf({ dir }: Pick<VmPaths, "dir">): string {
  return dir.split("/").slice(-2).join("/");
}

/** What a worker keeps on the disk of its host. */
export function simFiles(host: SimHost): LaunchFiles {
  const { world } = host;
  const at = (paths: VmPaths): SimDirectory | undefined => host.directories.get(keyOf(paths));
  const write = (paths: VmPaths, act: (directory: SimDirectory) => void): Promise<void> =>
    world.does(() => {
      const directory = at(paths);
      if (host.isDiskFull) throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
      if (directory === undefined) throw Object.assign(new Error("ENOENT: no such directory"), { code: "ENOENT" });
      act(directory);
    });
  return {
    paths: ({ vmId, epoch }) => vmPaths({ stateDir: STATE_DIR, vmId, epoch }),
    list: () =>
      world.does(() =>
        [...host.directories.keys()].map((key) => {
          const [vmId = "", epoch = ""] = key.split("/");
          return { vmId, epoch: Number(epoch) };
        }),
      ),
    makeDirectory: (paths) =>
      world.does(() => {
        if (host.isDiskFull) throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
        if (at(paths) === undefined)
          host.directories.set(keyOf(paths), { hasSecrets: false, hasDisk: false, isGuarded: false });
      }),
    writeRecord: (paths, record) => {
      const text = JSON.stringify(record);
      return write(paths, (directory) => {
        directory.record = text;
      });
    },
    readRecord: (paths) =>
      world.does(() => {
        const text = at(paths)?.record;
        if (text === undefined) return undefined;
        return parseLocalRecord(StoredRecord.parse(JSON.parse(text)), paths.record);
      }),
    writePlan: (paths, plan) => {
      const text = JSON.stringify(plan);
      return write(paths, (directory) => {
        directory.plan = text;
      });
    },
    readPlan: (paths) =>
      world.does(() => {
        const text = at(paths)?.plan;
        return text === undefined ? undefined : EndPlan.parse(JSON.parse(text));
      }),
    wasGuarded: (paths) => world.does(() => at(paths)?.isGuarded === true),
    forgetGuarded: (paths) =>
      world.does(() => {
        const directory = at(paths);
        if (directory !== undefined) directory.isGuarded = false;
      }),
    removeSecrets: (paths) =>
      world.does(() => {
        const directory = at(paths);
        if (directory !== undefined) directory.hasSecrets = false;
      }),
    removeDisk: (paths) =>
      world.does(() => {
        const directory = at(paths);
        if (directory !== undefined) directory.hasDisk = false;
      }),
    removeDirectory: (paths) => world.does(() => host.deleteDirectory(keyOf(paths))),
    setAside: async () => {
      throw new DamagedFile("no record is damaged in the simulation");
    },
  };
}
