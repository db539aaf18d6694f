import type { ServerResponse } from "node:http";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CAUSES } from "../../../src/contract/causes.ts";
import type { FailureGroup } from "../../../src/contract/failure-view.ts";
import type { ForensicsView } from "../../../src/contract/forensics.ts";
import { FakeApi } from "./fake-api.ts";
import { runCli } from "./run-cli.ts";

const VM = "3f2a91c4-1111-4222-8333-444455556666";
const MISSING = "could not open kernel file '/img/bzImage': No such file or directory";
let api: FakeApi;

beforeEach(async () => {
  api = await FakeApi.start();
});
afterEach(() => api[Symbol.asyncDispose]());

const run = (...words: readonly string[]) => runCli([...words, "--url", api.url]);

function group(cause: FailureGroup["cause"], host: string, changes: Partial<FailureGroup> = {}): FailureGroup {
  const { fault, means, action } = CAUSES[cause];
  return {
    id: `${cause}@${host}`,
    cause,
    host,
    fault,
    means,
    action,
    failed: 12,
    retryable: 12,
    launchedAgain: 0,
    firstAt: "2026-11-23T18:02:00.000Z",
    lastAt: "2026-11-23T19:01:00.000Z",
    example: { vmId: VM, message: MISSING },
    ...changes,
  };
}

/** Answers like an API with these groups, whose steps are the given ones. */
function serve(items: readonly FailureGroup[], steps: readonly object[] = []): void {
  const left = [...steps];
  api.override = ({ method, path }, response) => {
    if (!path.startsWith("/v1/failures")) return undefined;
    send(response, method === "GET" ? { items } : left.shift());
    return true;
  };
}
const send = (response: ServerResponse, body: unknown) =>
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
const seen = () =>
  api.seen.map(
    ({ method, path, query }) => `${method} ${decodeURIComponent(path)}${query.size > 0 ? `?${query}` : ""}`,
  );

test("failures by cause and host, with what to do about each cause", async () => {
  const message = "the guest's kernel panicked";
  serve([
    group("kernel_missing", "host-a"),
    group("kernel_missing", "host-b", { failed: 1, launchedAgain: 40 }),
    group("guest_panic", "host-a", { failed: 0, retryable: 0, launchedAgain: 3, example: { vmId: VM, message } }),
  ]);
  const { out, err, exitCode } = await run("failures");
  expect([exitCode, err]).toEqual([0, ""]);
  expect(out.split("\n")).toEqual([
    "CAUSE           HOST    FAILED  RETRYABLE  AGAIN  FIRST  LAST  EXAMPLE",
    "kernel_missing  host-a      12         12      0    60m   60s  3f2a91c4",
    "kernel_missing  host-b       1         12     40    60m   60s  3f2a91c4",
    "guest_panic     host-a       0          0      3    60m   60s  3f2a91c4",
    "",
    "kernel_missing",
    "  The host does not have the kernel that MANAGER_QEMU_DISK_IMG_KERNEL_FILE",
    "  names, or may not read it.",
    `  Last: ${MISSING}`,
    "  What to do: Put the kernel there, or mend the path.",
    "",
    "guest_panic",
    "  The guest's kernel panicked.",
    "  Last: the guest's kernel panicked",
    "  What to do: Look at the console tail.",
    "",
  ]);
});

test("filters go to the API; nothing is no error; programs get JSON", async () => {
  serve([]);
  const { out, err, exitCode } = await run("failures", "--since", "90m", "--host", "host-a", "--cause", "disk_full");
  expect([out, err, exitCode]).toEqual(["", "There is no failure that needs attention.\n", 0]);
  expect(seen()).toEqual(["GET /v1/failures?host=host-a&cause=disk_full&since=2026-11-23T17%3A32%3A00.000Z"]);
  expect(JSON.parse((await run("failures", "--json")).out)).toEqual({ items: [] });
  const typo = await run("failures", "--cause", "disk_ful");
  expect([typo.exitCode, typo.err]).toEqual([2, expect.stringContaining("Did you mean disk_full?")]);
});

test("a retry goes through all steps of all groups that fit, and names what was refused", async () => {
  const refused = [{ vmId: VM, code: "secrets_gone", message: "the secrets are deleted by now" }];
  serve(
    [
      group("kernel_missing", "host-a"),
      group("kernel_missing", "host-b"),
      group("kernel_missing", "host-c", { failed: 0 }),
    ],
    [
      { retried: 500, refused: [], next: "more" },
      { retried: 20, refused: [], next: null },
      { retried: 1, refused, next: null },
    ],
  );
  const { out, err, exitCode } = await run("failures", "retry", "--cause", "kernel_missing", "--owner", "red");
  expect(exitCode).toBe(1);
  expect(out).toBe("521 retried, 1 refused\n");
  expect(err).toBe(`${VM}  secrets_gone: the secrets are deleted by now\n`);
  expect(seen()).toEqual([
    "GET /v1/failures?cause=kernel_missing&owner=red",
    "POST /v1/failures/kernel_missing@host-a/retry?owner=red",
    "POST /v1/failures/kernel_missing@host-a/retry?owner=red&cursor=more",
    "POST /v1/failures/kernel_missing@host-b/retry?owner=red",
  ]);
});

test("groups are dismissed; all at once is refused, and so is what is not there", async () => {
  serve([group("guest_panic", "host-a", { failed: 0 })], [{ dismissed: 3, next: null }]);
  expect(await run("failures", "dismiss", "--host", "host-a")).toMatchObject({ out: "3 dismissed\n", exitCode: 0 });
  for (const what of ["retry", "dismiss"]) {
    const { exitCode, err } = await run("failures", what);
    expect([exitCode, err]).toEqual([2, expect.stringContaining("say which failures are meant")]);
  }
  serve([]);
  expect(await run("failures", "retry", "--host", "nope")).toMatchObject({ exitCode: 3, out: "" });
});

const LAUNCH: ForensicsView = {
  epoch: 2,
  host: "host-a",
  port: 6101,
  startedAt: "2026-11-23T19:00:00.000Z",
  endedAt: "2026-11-23T19:00:04.200Z",
  cause: { code: "qemu_crashed", message: "QEMU ended by SIGSEGV and said nothing" },
  command: "qemu-system-x86_64 -uuid x",
  exit: { exitCode: null, signal: "SIGSEGV" },
  qmpEvents: [{ name: "STOP", data: "{}", at: "2026-11-23T19:00:04.000Z" }],
  consoleTail: "Booting Linux\n",
  qemuTail: "",
  qemuVersion: "7.2.22",
  files: [
    {
      role: "kernel",
      path: "/img/bzImage",
      bytes: 9_000_000,
      modifiedAt: "2026-11-01T00:00:00.000Z",
      sha256: "ab".repeat(32),
      problem: null,
    },
    { role: "initrd", path: "/img/rootfs", bytes: null, modifiedAt: null, sha256: null, problem: "ENOENT" },
  ],
};

test("get shows the last failed launch of a failed VM, and with --forensics all of them", async () => {
  const { id } = api.add({ id: VM, state: "failed", forensics: [{ ...LAUNCH, epoch: 1 }, LAUNCH] });
  const brief = await run("get", id);
  expect(brief.out).toContain(
    [
      "Launch 2 on host-a failed: qemu_crashed",
      "  At        2026-11-23 19:00:00Z, for 4.2 s, port 6101",
      "  Exit      ended by SIGSEGV",
      "  QMP       STOP",
      "  QEMU      7.2.22",
      "  FILE    PATH            BYTES  CHANGED               SHA-256",
      "  kernel  /img/bzImage  9000000  2026-11-01 00:00:00Z  abababababababab",
      "  initrd  /img/rootfs                                  ENOENT",
    ].join("\n"),
  );
  expect(brief.out).not.toContain("Launch 1");
  const whole = await run("get", id, "--forensics");
  expect(whole.out).toContain("Launch 1 on host-a failed: qemu_crashed");
  expect(whole.out).toContain("  Command   qemu-system-x86_64 -uuid x\n  Console   Booting Linux\n");
  expect(JSON.parse((await run("get", id, "--forensics", "--json")).out)).toHaveLength(2);
  const fine = api.add({ state: "completed" });
  expect(await run("get", fine.id, "--forensics")).toMatchObject({ out: "", exitCode: 0 });
});
