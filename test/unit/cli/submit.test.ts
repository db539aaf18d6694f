import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Interrupted } from "../../../src/cli/interrupted.ts";
import type { VmDetail } from "../../../src/contract/vm-view.ts";
import { FakeApi, sendProblem } from "./fake-api.ts";
import { type CliSetting, runCli } from "./run-cli.ts";

let api: FakeApi;
let dir = "";

beforeEach(async () => {
  api = await FakeApi.start();
  dir = await mkdtemp(join(tmpdir(), "drover-submit-"));
});

afterEach(async () => {
  await api[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

const submit = (words: readonly string[], setting: CliSetting = {}) =>
  runCli(["submit", ...words, "--url", api.url], setting);
const bodies = () => api.seen.filter(({ method }) => method === "POST").map(({ body }) => JSON.parse(body));

async function file(name: string, text: string): Promise<string> {
  const path = join(dir, name);
  await writeFile(path, text);
  return path;
}

/** A life that ends well, told in events. */
function runsAndCompletes(vm: VmDetail): void {
  api.emit(vm.id, "vm.preparing", { host: "a1", epoch: 1, port: 6100 });
  api.emit(vm.id, "vm.running", { host: "a1", epoch: 1, address: "127.0.0.1", port: 6100, bootMs: 2100 });
  api.change(vm.id, { state: "completed", result: { exitCode: 0, data: "aGVsbG8=", text: "hello" } });
  api.emit(vm.id, "vm.completed", { host: "a1", epoch: 1, reason: "guest_poweroff", exitCode: 0 });
}

function fails(vm: VmDetail): void {
  const cause = { code: "guest_panic" as const, message: "the kernel panicked" };
  api.change(vm.id, {
    state: "failed",
    cause: { ...cause, fault: "vm", action: "Look at the console tail." },
    tail: { console: "Oops\n", qemu: "" },
  });
  api.emit(vm.id, "vm.failed", { cause, attempt: 3, host: "a1", epoch: 3, exitCode: null });
}

test("prints the id and nothing else on standard output", async () => {
  const { out, exitCode } = await submit(["--name", "first"]);
  expect(exitCode).toBe(0);
  expect(out).toBe(`${[...api.vms.keys()][0]}\n`);
});

test("flags become fields", async () => {
  const key = await file("key.pem", "-----BEGIN KEY-----\nabc\n-----END KEY-----\n");
  const der = await file("ca.der", "\u0001\u0002");
  const secret = await file("secret", "s3cret\n");
  await submit(
    [
      ...["--name", "n", "--label", "a=1", "--label", "b=x=y", "--priority", "low", "--ttl", "10m", "--attempts", "2"],
      ...["--probe", "console:login: ", "--result", "--retry-computation", "--on-reboot", "end"],
      ...["--tee", "snp", "--gpu"],
      ...["--server-url", "10.0.0.7:7001", "--client-key", key, "--server-ca", der, "--aws-from-env"],
      ...["--certs-token-file", secret, "--aa-kbs-params-file", "-"],
    ],
    { stdin: "kbs:params", env: { AWS_SECRET_ACCESS_KEY: "aws", AWS_REGION: "eu", AWS_ENDPOINT_URL: "" } },
  );
  expect(bodies()[0]).toEqual({
    name: "n",
    labels: { a: "1", b: "x=y" },
    priority: "low",
    ttl: "10m",
    attempts: 2,
    probe: { type: "console", text: "login: " },
    result: true,
    retryComputation: true,
    onReboot: "end",
    tee: "snp",
    gpu: true,
    agentCvmServerUrl: "10.0.0.7:7001",
    agentCvmClientKey: "-----BEGIN KEY-----\nabc\n-----END KEY-----\n",
    agentCvmServerCaCert: "AQI=",
    agentCertsToken: "s3cret",
    awsSecretAccessKey: "aws",
    awsRegion: "eu",
    aaKbsParams: "kbs:params",
  });
});

test("--no-gpu is an answer, and no flag is none", async () => {
  await submit(["--no-gpu", "--tee", "none"]);
  await submit([]);
  expect(bodies()).toEqual([{ gpu: false, tee: "none" }, {}]);
});

describe("wrong words", () => {
  test.each([
    [["--tee", "sev"], "Allowed: snp, tdx, none."],
    [["--priority", "hgih"], "Did you mean high?"],
    [["--prioriti", "high"], "--priority"],
    [["--attempts", "0"], "from 1 to 20"],
    [["--label", "nonsense"], "team=physics"],
    [["--probe", "tpc"], "tcp"],
    [["--ttl", "ten minutes"], "ttl (--ttl)"],
    [["--client-key", "/nowhere"], "--client-key"],
    [["--aws-secret-access-key", "s3cret"], "--aws-secret-access-key-file"],
    [["--idempotency-key", "a b"], "printable"],
    [["surplus"], "too many arguments"],
  ])("%j end with 2, and submit nothing", async (words, text) => {
    const { err, exitCode } = await submit(words);
    expect(exitCode).toBe(2);
    expect(err.replace(/\s+/g, " ")).toContain(text);
    expect(err).not.toContain("s3cret");
    expect(api.seen).toEqual([]);
  });
});

describe("--file", () => {
  test("takes one request, flags go before its fields", async () => {
    const path = await file(
      "one.json",
      JSON.stringify({ name: "from file", ttl: "1h", labels: { a: "1", b: "1" } }, null, 2),
    );
    await submit(["-f", path, "--ttl", "5m", "--label", "b=2"]);
    expect(bodies()).toEqual([{ name: "from file", ttl: "5m", labels: { a: "1", b: "2" } }]);
  });

  test("takes one on each line, each with a key of its own, ids in the lines' order", async () => {
    const lines = Array.from({ length: 30 }, (_, index) => JSON.stringify({ name: `vm ${index}` }));
    const { out, exitCode } = await submit(["-f", "-", "--idempotency-key", "batch"], {
      stdin: `${lines.join("\n")}\n\n`,
    });
    expect(exitCode).toBe(0);
    const names = out
      .trim()
      .split("\n")
      .map((id) => api.vms.get(id)?.spec.name);
    expect(names).toEqual(lines.map((_, index) => `vm ${index}`));
    const keys = api.seen.map(({ headers }) => headers["idempotency-key"]);
    expect(new Set(keys).size).toBe(30);
    expect(keys).toContain("batch/30");
  });

  test("tells all mistakes with their lines before anything is submitted", async () => {
    const { err, exitCode } = await submit(["-f", "-"], {
      stdin: '{"name":"ok"}\n{"nmae":"x"}\nnot json\n{"agent_cvm_server_url":"x"}\n',
    });
    expect(exitCode).toBe(2);
    expect(err).toContain("line 2 nmae");
    expect(err).toContain("line 3: is not JSON");
    expect(err).toContain("line 2 nmae: is no field of a request (did you mean name?)");
    expect(err).toContain("agentCvmServerUrl?");
    expect(api.seen).toEqual([]);
  });

  test("goes on after a line that the API refuses, and ends with its code", async () => {
    api.override = ({ body }, response) => {
      if (!body.includes("bad")) return undefined;
      sendProblem(response, "secrets_key_missing", "no key");
      return true;
    };
    const { out, err, exitCode } = await submit(["-f", "-"], { stdin: '{"name":"a"}\n{"name":"bad"}\n{"name":"b"}\n' });
    expect(exitCode).toBe(2);
    expect(out.trim().split("\n")).toHaveLength(2);
    expect(err).toContain("line 2: no key");
    expect(err).toContain("2 of 3 accepted, 1 refused");
  });

  test("says how to go on without doubles when the API goes away", async () => {
    let calls = 0;
    api.override = (_request, response) => {
      calls += 1;
      if (calls <= 2) return undefined;
      response.writeHead(502).end("gateway");
      return true;
    };
    const { err, exitCode } = await submit(["-f", "-", "--idempotency-key", "k"], {
      stdin: '{"name":"a"}\n'.repeat(20),
    });
    expect(exitCode).toBe(4);
    expect(err).toContain("--idempotency-key k");
  });
});

test("is sent again with the same key after a passing refusal", async () => {
  let refusals = 2;
  api.override = ({ method }, response) => {
    if (method !== "POST" || refusals === 0) return undefined;
    refusals -= 1;
    response.setHeader("retry-after", "0");
    sendProblem(response, "redis_unavailable", "away");
    return true;
  };
  expect((await submit([])).exitCode).toBe(0);
  expect(api.seen).toHaveLength(3);
  expect(new Set(api.seen.map(({ headers }) => headers["idempotency-key"])).size).toBe(1);
});

describe("--wait", () => {
  test("tells the VM's life and ends with 0", async () => {
    api.afterSubmit(runsAndCompletes);
    const { out, err, exitCode } = await submit(["--wait"]);
    expect(exitCode).toBe(0);
    expect(out.trim().split("\n")).toHaveLength(1);
    expect(err.split("\n")).toEqual([
      "    0.0 s  queued        in pool default",
      "    1.0 s  preparing     host a1, port 6100",
      "    2.0 s  running       at 127.0.0.1:6100 after 2.1 s",
      "    3.0 s  completed     guest_poweroff, exit code 0",
      "Result",
      "  hello",
      "",
    ]);
  });

  test("ends with 1 when the VM failed, and shows why", async () => {
    api.afterSubmit(fails);
    const { err, exitCode } = await submit(["--wait"]);
    expect(exitCode).toBe(1);
    expect(err).toContain("guest_panic: the kernel panicked");
    expect(err).toContain("  Oops");
    expect(err).toContain("What to do: Look at the console tail.");
  });

  test("ends with 6 when it was removed", async () => {
    api.afterSubmit((vm) => {
      api.change(vm.id, { state: "removed" });
      api.emit(vm.id, "vm.removed", { reason: "requested" });
    });
    expect((await submit(["--wait"])).exitCode).toBe(6);
  });

  test("ends with 5 when the wait's own limit passed", async () => {
    expect((await submit(["--wait", "--timeout", "150ms"])).exitCode).toBe(5);
  });

  test("with --json gives the VM as it ended, and only that", async () => {
    api.afterSubmit(runsAndCompletes);
    const { out, err } = await submit(["--wait", "--json"]);
    expect(JSON.parse(out)).toMatchObject({ state: "completed", result: { text: "hello" } });
    expect(err).toBe("");
  });

  test("follows a VM over a cut connection and loses none of its events", async () => {
    api.afterSubmit((vm) => {
      api.emit(vm.id, "vm.preparing", { host: "a1", epoch: 1, port: 6100 });
      setTimeout(() => api.cutStreams(), 30);
      setTimeout(() => runsAndCompletes(vm), 60); // nobody listens now
    });
    const { err, exitCode } = await submit(["--wait"]);
    expect(exitCode).toBe(0);
    expect(err.match(/preparing/g)).toHaveLength(2);
    expect(err).toContain("running");
  });

  test("Ctrl-C leaves the VM alone and says so", async () => {
    const stop = new AbortController();
    const { err, exitCode } = await submit(["--wait"], {
      signal: stop.signal,
      onOut: () => setTimeout(() => stop.abort(new Interrupted("SIGINT")), 50),
    });
    expect(exitCode).toBe(130);
    expect(err).toContain("The VM goes on: drover get");
    expect(api.seen.map(({ method }) => method)).not.toContain("DELETE");
  });

  test("of many tells each end, and the worst of them by the exit code", async () => {
    api.afterSubmit((vm) => (vm.spec.name === "bad" ? fails(vm) : runsAndCompletes(vm)));
    const { out, err, exitCode } = await submit(["--wait", "-f", "-"], {
      stdin: '{"name":"a"}\n{"name":"bad"}\n{"name":"b"}\n',
    });
    expect(exitCode).toBe(1);
    expect(out.trim().split("\n")).toHaveLength(3);
    expect(err).toMatch(/3\/3 {2}[0-9a-f-]{36}/);
    expect(err).toMatch(/failed {2}guest_panic/);
  });
});
