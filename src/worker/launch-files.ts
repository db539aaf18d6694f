import { mkdir, rename } from "node:fs/promises";
import { basename, join } from "node:path";
import { DamagedFile, readDurable, writeDurably } from "../qemu/durable-file.ts";
import {
  listVmDirectories,
  makeVmDirectory,
  removeDiskAndVariables,
  removeGuestFiles,
  removeVmDirectory,
} from "../qemu/vm-directory.ts";
import { type VmPaths, vmPaths } from "../qemu/vm-paths.ts";
import { errnoOf } from "../runtime/errno.ts";
import { EndPlan } from "./end-plan.ts";
import { forgetGuardedNote, readGuardedNote } from "./guard/guarded-note.ts";
import { type LocalRecord, parseLocalRecord, StoredRecord } from "./local-record.ts";

/**
 * What a worker keeps on disk of its launches. Behind one interface, so that the model test can lose what was not yet
 * durable.
 */
export interface LaunchFiles {
  paths(launch: { vmId: string; epoch: number }): VmPaths;
  /** The launches that have a directory. */
  list(): Promise<readonly { vmId: string; epoch: number }[]>;
  makeDirectory(paths: VmPaths): Promise<void>;
  /** On disk once this returns, whole or not at all. */
  writeRecord(paths: VmPaths, record: LocalRecord): Promise<void>;
  /** Undefined when there is none; throws DamagedFile, and NewerRecord for one that only a newer version can read. */
  readRecord(paths: VmPaths): Promise<LocalRecord | undefined>;
  writePlan(paths: VmPaths, plan: EndPlan): Promise<void>;
  readPlan(paths: VmPaths): Promise<EndPlan | undefined>;
  /** Whether the guard ended this VM because its worker was silent for too long. */
  wasGuarded(paths: VmPaths): Promise<boolean>;
  /** For a VM that lives after all. */
  forgetGuarded(paths: VmPaths): Promise<void>;
  removeSecrets(paths: VmPaths): Promise<void>;
  removeDisk(paths: VmPaths): Promise<void>;
  removeDirectory(paths: VmPaths): Promise<void>;
  /** Keeps a damaged launch's record for people, and gives the place; its secrets, disk and raw output go. */
  setAside(paths: VmPaths, launch: { vmId: string; epoch: number }): Promise<string>;
}

/** The launches below `<state dir>/vms`. */
export function launchFiles({ stateDir, diskFormat }: { stateDir: string; diskFormat: string }): LaunchFiles {
  return {
    paths: ({ vmId, epoch }) => vmPaths({ stateDir, vmId, epoch, diskFormat }),
    list: () => listVmDirectories(stateDir),
    makeDirectory: makeVmDirectory,
    writeRecord: (paths, record) => writeDurably(paths.record, JSON.stringify(record)),
    async readRecord(paths) {
      const stored = await readDurable(paths.record, StoredRecord);
      return stored === undefined ? undefined : parseLocalRecord(stored, paths.record);
    },
    writePlan: (paths, plan) => writeDurably(paths.end, JSON.stringify(plan)),
    async readPlan(paths) {
      try {
        return await readDurable(paths.end, EndPlan);
      } catch (error) {
        if (!(error instanceof DamagedFile)) throw error;
        return undefined; // how it ended is found out again; the record says what there is to undo
      }
    },
    wasGuarded: async (paths) => (await readGuardedNote(paths.guarded)) !== undefined,
    forgetGuarded: (paths) => forgetGuardedNote(paths.guarded),
    removeSecrets: removeGuestFiles,
    removeDisk: removeDiskAndVariables,
    removeDirectory: removeVmDirectory,
    async setAside(paths, { vmId, epoch }) {
      const place = join(stateDir, "quarantine", `${vmId}-${epoch}-${Date.now()}`);
      await mkdir(place, { recursive: true, mode: 0o700 });
      for (const file of [paths.record, paths.end]) {
        await rename(file, join(place, basename(file))).catch((cause: unknown) => {
          if (errnoOf(cause) !== "ENOENT") throw cause;
        });
      }
      await removeVmDirectory(paths);
      return place;
    },
  };
}
