import { execa } from "execa";
import { childEnvironment } from "./qemu-process.ts";

const ANSWER_MS = 10_000;
const OUTPUT_MAX_BYTES = 4 * 1024 * 1024;

/** Parts of QEMU that a distribution may have left out, each with the question that shows it. */
const FEATURES = [
  { name: "virtio-net-pci", ask: ["-device", "help"], shows: /"virtio-net-pci"/ },
  {
    name: "virtio-9p-pci (the shares with certificates and environment)",
    ask: ["-device", "help"],
    shows: /"virtio-9p-pci"/,
  },
  { name: "virtserialport (results)", ask: ["-device", "help"], shows: /"virtserialport"/ },
  { name: "pvpanic (guest panics)", ask: ["-device", "help"], shows: /"pvpanic"/ },
  { name: "user networking (slirp)", ask: ["-netdev", "help"], shows: /^user$/m },
  { name: "ringbuf (consoles)", ask: ["-chardev", "help"], shows: /^\s*ringbuf$/m },
  { name: "-uuid", ask: ["-help"], shows: /^-uuid /m },
  { name: "-fsdev", ask: ["-help"], shows: /^-fsdev /m },
  { name: "-sandbox", ask: ["-help"], shows: /^-sandbox /m },
] as const;

export interface QemuProbe {
  /** Undefined when the program cannot be run; `problem` says why. */
  readonly version: string | undefined;
  readonly problem: string | undefined;
  /** What this QEMU lacks, in words. */
  readonly missing: readonly string[];
}

/** Asks a QEMU what it is. It starts no machine, and each question is bounded. */
export async function probeQemu(binPath: string): Promise<QemuProbe> {
  const version = await ask(binPath, ["-version"]);
  if (version.text === undefined) return { version: undefined, problem: version.problem, missing: [] };
  const questions = new Map(FEATURES.map(({ ask: args }) => [args.join(" "), args]));
  const answers = new Map(
    await Promise.all([...questions].map(async ([key, args]) => [key, (await ask(binPath, args)).text ?? ""] as const)),
  );
  return {
    version: versionOf(version.text),
    problem: undefined,
    missing: FEATURES.filter(({ ask: args, shows }) => !shows.test(answers.get(args.join(" ")) ?? "")).map(
      ({ name }) => name,
    ),
  };
}

/** The version of a QEMU, or undefined when it cannot be run. */
export async function probeQemuVersion(binPath: string): Promise<string | undefined> {
  const { text } = await ask(binPath, ["-version"]);
  return text === undefined ? undefined : versionOf(text);
}

/** The version of a QEMU, or undefined when it does not say. */
export async function probeVersion(binPath: string): Promise<string | undefined> {
  const { text } = await ask(binPath, ["-version"]);
  return text === undefined ? undefined : versionOf(text);
}

/** The objects that a QEMU can make (`-object help`), or undefined when it does not say. */
export async function probeObjects(binPath: string): Promise<readonly string[] | undefined> {
  const { text } = await ask(binPath, ["-object", "help"]);
  return text?.match(/^ +[a-z0-9-]+$/gm)?.map((line) => line.trim());
}

/** The version of qemu-img, or why it cannot be run. */
export async function probeQemuImg(binPath: string): Promise<Omit<QemuProbe, "missing">> {
  const { text, problem } = await ask(binPath, ["--version"]);
  return { version: text === undefined ? undefined : versionOf(text), problem };
}

function versionOf(text: string): string {
  return /version (\d+(?:\.\d+)*)/.exec(text)?.[1] ?? "unknown";
}

async function ask(file: string, args: readonly string[]): Promise<{ text?: string; problem: string | undefined }> {
  const result = await execa(file, args, {
    stdin: "ignore",
    reject: false,
    timeout: ANSWER_MS,
    forceKillAfterDelay: 1_000,
    maxBuffer: OUTPUT_MAX_BYTES,
    extendEnv: false,
    env: childEnvironment(),
  });
  // `-device help` and its like end with 0 or 1, by version; what counts is that they answer.
  if (result.stdout !== "") return { text: result.stdout, problem: undefined };
  return {
    problem: result.timedOut ? `no answer within ${ANSWER_MS / 1_000} s` : (result.shortMessage ?? "no answer"),
  };
}
