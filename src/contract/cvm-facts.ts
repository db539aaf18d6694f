import { z } from "zod";

/** What a host is configured with, in the words of Cocos's CVMInfo. */
export const CvmFacts = z.object({
  ovmfVersion: z.string(),
  cpuNum: z.int(),
  cpuType: z.string(),
  /** The kernel's command line without what a single VM adds; empty where a disk brings its own. */
  kernelCmd: z.string(),
  eosVersion: z.string(),
});
export type CvmFacts = z.infer<typeof CvmFacts>;
