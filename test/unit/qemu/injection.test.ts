import fc from "fast-check";
import { expect, test } from "vitest";
import type { QemuConfig } from "../../../src/contract/qemu-config.ts";
import { VmRequest } from "../../../src/contract/vm-request.ts";
import { exampleValues, vmCommand } from "../../../src/qemu/vm-command.ts";
import { vmPaths } from "../../../src/qemu/vm-paths.ts";
import { loadConfig } from "../../../src/runtime/config/load-config.ts";

const { config } = loadConfig({ HOME: "/", DROVER_STATE_DIR: "/s" });
const VM_ID = "0b6f5f1e-0000-4000-8000-000000000001";

/** What somebody would try who wants an option of his own, and what breaks readers. */
const CORPUS = [
  ",hostfwd=tcp::6999-:22",
  "x,hostfwd=tcp::6999-:22,",
  ",,",
  ",",
  "a,",
  ",,,",
  "=",
  "a=b,readonly=off",
  "-monitor",
  "-drive file=/etc/shadow",
  "--",
  "json:{}",
  "\u00a0",
  "\ud83d\ude00,x",
  "'\"\\$(id)`",
  `${"A,".repeat(32 * 1024)}`,
];
const hostile = fc.oneof(
  { weight: 3, arbitrary: fc.string({ unit: fc.constantFrom(..."ab,=-:/ .'\"{}[]\\%é\u{1f600}"), maxLength: 24 }) },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 16 }).filter((text) => !text.includes("\0")) },
  { weight: 2, arbitrary: fc.constantFrom(...CORPUS) },
);

/** Every value of the operator's that becomes part of an option; machine, CPU and monitor are options of his own. */
const OPERATOR = {
  ovmfCode: (qemu, text) => ({ ...qemu, ovmfCode: { ...qemu.ovmfCode, file: text } }),
  ovmfCodeIf: (qemu, text) => ({ ...qemu, ovmfCode: { ...qemu.ovmfCode, if: text } }),
  ovmfVarsFormat: (qemu, text) => ({ ...qemu, ovmfVars: { ...qemu.ovmfVars, format: text } }),
  netdevId: (qemu, text) => ({ ...qemu, netdevId: text }),
  romFile: (qemu, text) => ({ ...qemu, virtioNet: { ...qemu.virtioNet, romFile: text } }),
  addr: (qemu, text) => ({ ...qemu, virtioNet: { ...qemu.virtioNet, addr: text } }),
  diskId: (qemu, text) => ({ ...qemu, disk: { ...qemu.disk, id: text } }),
  scsiId: (qemu, text) => ({ ...qemu, disk: { ...qemu.disk, scsiId: text } }),
  kernel: (qemu, text) => ({ ...qemu, kernelFile: text }),
  rootFs: (qemu, text) => ({ ...qemu, rootFsFile: text }),
  cmdline: (qemu, text) => ({ ...qemu, kernelCmdline: text }),
  sevId: (qemu, text) => ({ ...qemu, sevSnp: { ...qemu.sevSnp, id: text } }),
  igvm: (qemu, text) => ({ ...qemu, igvm: { ...qemu.igvm, file: text } }),
  tdxId: (qemu, text) => ({ ...qemu, tdx: { ...qemu.tdx, id: text } }),
  tdxOvmf: (qemu, text) => ({ ...qemu, tdx: { ...qemu.tdx, ovmfFile: text } }),
  gpuPort: (qemu, text) => ({ ...qemu, gpu: { ...qemu.gpu, rootPort: text } }),
} as const satisfies Record<string, (qemu: QemuConfig, text: string) => QemuConfig>;
type Field = keyof typeof OPERATOR;
const FIELDS = Object.keys(OPERATOR) as Field[];

/** Options whose value is a list of key=value; every other one takes its value as it is. */
const LISTS = new Set([
  "-machine",
  "-drive",
  "-netdev",
  "-device",
  "-fsdev",
  "-object",
  "-chardev",
  "-mon",
  "-smp",
  "-m",
  "-fw_cfg",
]);

interface Choice {
  readonly tee: "none" | "snp" | "tdx";
  readonly disk: boolean;
  readonly gpu: string | false;
}

function command(values: Readonly<Record<Field, string>>, stateDir: string, { tee, disk, gpu }: Choice): string[] {
  const qemu = FIELDS.reduce<QemuConfig>((built, field) => OPERATOR[field](built, values[field]), config.qemu);
  const paths = vmPaths({ stateDir, vmId: VM_ID, epoch: 1 });
  const example = exampleValues(config, { tee, gpu, forwardBind: "127.0.0.1" });
  const built = vmCommand(
    { ...config, qemu: { ...qemu, enableDisk: disk } },
    { ...example, paths, aaKbsParams: undefined, resultPort: true },
  );
  return [...built.cocos, ...built.drover];
}

/**
 * QEMU's reader of an option, written from its description (qemu-option.c): values end at a comma, two commas are one
 * in the value, keys end at the first `=`; the first part may be a value alone.
 */
function readOption(text: string): [key: string, value: string][] {
  const read: [string, string][] = [];
  let at = 0;
  while (at < text.length) {
    const stop = text.slice(at).search(/[=,]/);
    const hasKey = stop !== -1 && text[at + stop] === "=";
    const key = hasKey ? text.slice(at, at + stop) : "";
    if (hasKey) at += stop + 1;
    let value = "";
    for (; at < text.length; at++) {
      if (text[at] === ",") {
        if (text[at + 1] !== ",") break;
        at++;
      }
      value += text[at];
    }
    at++; // the comma that ended it
    read.push([key, value]);
  }
  return read;
}

/** The command as QEMU understands it. */
function understood(args: readonly string[]): unknown[] {
  return args.map((arg, index) => {
    const option = args[index - 1] ?? "";
    if (arg.startsWith("{") && option === "-object") return JSON.parse(arg);
    return LISTS.has(option) ? readOption(arg) : arg;
  });
}

/** The same with the marks replaced, wherever they stand. */
function filled(value: unknown, texts: ReadonlyMap<string, string>): unknown {
  if (typeof value === "string") return value.replace(/<\w+>/g, (mark) => texts.get(mark) ?? mark);
  if (Array.isArray(value)) return value.map((part) => filled(part, texts));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, filled(part, texts)]));
}

test("whatever the operator's values are, QEMU understands the same options with these values in their places", () => {
  const choice = fc.record<Choice>({
    tee: fc.constantFrom("none", "snp", "tdx"),
    disk: fc.boolean(),
    gpu: fc.constantFrom<string | false>("0000:01:00.0", false),
  });
  const marks = Object.fromEntries(FIELDS.map((field) => [field, `<${field}>`])) as Record<Field, string>;
  const values = fc.record(
    Object.fromEntries(FIELDS.map((field) => [field, hostile])) as Record<Field, typeof hostile>,
  );
  const stateDir = hostile.filter((text) => text.length < 24 && !/(^|\/)\.{0,2}(\/|$)/.test(text));
  let used = 0;
  fc.assert(
    fc.property(values, stateDir, choice, (texts, dir, chosen) => {
      const filling = new Map([
        ...FIELDS.map((field) => [`<${field}>`, texts[field]] as const),
        ["<dir>", dir] as const,
      ]);
      const expected = filled(understood(command(marks, "/<dir>", chosen)), filling);
      expect(understood(command(texts, `/${dir}`, chosen))).toEqual(expected);
      used++;
    }),
    { numRuns: 300 },
  );
  expect(used).toBeGreaterThanOrEqual(300);
});

test("the reader above tells an escaped value from one that is not", () => {
  expect(readOption("file=/a,,hostfwd=x,id=d")).toEqual([
    ["file", "/a,hostfwd=x"],
    ["id", "d"],
  ]);
  expect(readOption("file=/a,hostfwd=x,id=d")).toHaveLength(3);
});

test("KBS parameters that are accepted are one word of the kernel line, and only that", () => {
  const base = config.qemu.kernelCmdline;
  const example = exampleValues(config, { tee: "none", gpu: false, forwardBind: "127.0.0.1" });
  let accepted = 0;
  fc.assert(
    fc.property(
      fc.oneof(hostile, fc.string({ unit: fc.constantFrom(..."cc_kbc::http/:1,=.& \t\n\u00a0'\""), maxLength: 20 })),
      (text) => {
        const request = VmRequest.safeParse({ aaKbsParams: text });
        if (!request.success || text === "") return;
        accepted++;
        const { cocos } = vmCommand(config, { ...example, aaKbsParams: text });
        const line = cocos[cocos.indexOf("-append") + 1] ?? "";
        // The kernel splits at every white space that isspace() knows, Latin-1's among them, and joins between quotes.
        expect(line.split(/[\s\u00a0]+/)).toEqual([...base.split(" "), `agent.aa_kbc_params=${text}`]);
        expect(text).not.toMatch(/["'\\]/);
      },
    ),
    { numRuns: 1_000 },
  );
  expect(accepted).toBeGreaterThan(20);
});

test.each(["x init=/bin/sh", "x\trdinit=/x", "x\u00a0y", '"', "x\n", "\0"])("KBS parameters %j are refused", (text) => {
  expect(VmRequest.safeParse({ aaKbsParams: text }).success).toBe(false);
});

test.each(["../../x", "%2e%2e", "..", VM_ID.toUpperCase(), `${VM_ID}/..`, `${VM_ID}\0`, "", "{x}", "a:b"])(
  "%j never becomes part of a path",
  (vmId) => expect(() => vmPaths({ stateDir: "/s", vmId, epoch: 1 })).toThrow(TypeError),
);

test("an environment that holds a NUL byte is refused before it gets anywhere", () => {
  expect(() => loadConfig({ HOME: "/", MANAGER_QEMU_NETDEV_ID: "a\0b" })).toThrow(/MANAGER_QEMU_NETDEV_ID/);
});
