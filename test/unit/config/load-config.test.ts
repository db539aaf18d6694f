import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { DroverError } from "../../../src/contract/errors.ts";
import { describeConfig } from "../../../src/runtime/config/describe-config.ts";
import { type LoadedConfig, loadConfig as loadConfigFor } from "../../../src/runtime/config/load-config.ts";
import { reservedPorts } from "../../../src/runtime/config/reserved-ports.ts";
import { SERVER_VARIABLES } from "../../../src/runtime/config/variables.ts";

const cocos: Record<"readme" | "codeOnly" | "shippedEnvironment", Record<string, string>> = JSON.parse(
  readFileSync("test/fixtures/cocos-variables.json", "utf8"),
);
/** As root, so that the state directory's default does not depend on who runs the tests. */
const loadConfig = (env: Record<string, string>, facts = {}): LoadedConfig =>
  loadConfigFor(env, { isRoot: true, ...facts });
const portRanges: { in: string }[] = JSON.parse(readFileSync("test/fixtures/goldens/port-ranges.json", "utf8"));
const KEY_BYTES = Buffer.alloc(32, 7).toString("base64");

/** The message of every problem, by name. */
function problemsOf(env: Record<string, string>, facts = {}): Record<string, string> {
  try {
    loadConfig(env, facts);
  } catch (error) {
    if (!(error instanceof DroverError)) throw error;
    expect(error.code).toBe("config_invalid");
    return Object.fromEntries(error.problems.map(({ field, message }) => [field, message]));
  }
  return {};
}

const valuesOf = (env: Record<string, string>): Map<string, string> =>
  new Map(describeConfig(loadConfig(env)).map(({ name, value }) => [name, value]));

describe("defaults", () => {
  const exceptions: Record<string, string> = {
    MANAGER_HTTP_HOST: "127.0.0.1",
    MANAGER_GRPC_HOST: "127.0.0.1",
    MANAGER_QEMU_ENABLE_SEV_SNP: "(detect)",
    MANAGER_QEMU_ENABLE_TDX: "(detect)",
    MANAGER_QEMU_SEV_SNP_CBIT_POS: "", // an alias: no line of its own
    MANAGER_QEMU_DST_DISK_FILE: "", // refused when set
    MANAGER_QEMU_CERTS_MOUNT: "",
    MANAGER_QEMU_ENV_MOUNT: "",
  };

  test("every variable of the Cocos manager has the default of its README, or of its code where the README is silent", () => {
    const values = valuesOf({});
    for (const [name, value] of Object.entries({ ...cocos.codeOnly, ...cocos.readme })) {
      const shown = values.get(name) ?? "";
      if (name in exceptions) expect(shown, name).toBe(exceptions[name]);
      else if (value === "") expect(shown, name).toMatch(/^$|^\(.*\)$/);
      else expect(shown, name).toBe(value);
    }
  });

  test("every declared variable is read, once", () => {
    const names = loadConfig({}).sources.map(({ variable }) => variable.name);
    expect([...names].sort()).toEqual(SERVER_VARIABLES.map(({ name }) => name).sort());
  });

  test("an empty variable is an unset one", () => {
    const allEmpty = Object.fromEntries(
      SERVER_VARIABLES.flatMap(({ name, aliases }) => [name, ...aliases]).map((name) => [name, ""]),
    );
    expect(loadConfig(allEmpty, { isRoot: true }).config).toEqual(loadConfig({}, { isRoot: true }).config);
  });

  test("the state directory's default depends on the user", () => {
    expect(loadConfig({}, { isRoot: true }).config.stateDir).toBe("/var/lib/drover");
    expect(loadConfig({ HOME: "/home/ada" }, { isRoot: false }).config.stateDir).toBe("/home/ada/.local/state/drover");
  });

  test("a home directory that leaves no room for sockets is a problem that tells the way out", () => {
    const problems = problemsOf({ HOME: `/home/${"x".repeat(40)}` }, { isRoot: false });
    expect(problems["DROVER_STATE_DIR"]).toMatch(
      /its default here, "\/home\/x+.*has \d+ bytes. Set it: an absolute path of at most 44 bytes/,
    );
  });

  test("the configuration is frozen on all levels", () => {
    const { config } = loadConfig({});
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.qemu.memory)).toBe(true);
    expect(Object.isFrozen(config.pools)).toBe(true);
  });
});

describe("values", () => {
  test.each(["1", "t", "T", "TRUE", "true", "True"])("%s is true, as in Go", (text) => {
    expect(loadConfig({ MANAGER_QEMU_ENABLE_DISK: text }).config.qemu.enableDisk).toBe(true);
  });

  test.each(["0", "f", "F", "FALSE", "false", "False"])("%s is false, as in Go", (text) => {
    expect(loadConfig({ MANAGER_QEMU_ENABLE_KVM: text }).config.qemu.enableKvm).toBe(false);
  });

  test.each(["yes", "on", "tRUE", " true", "2"])("%s is no boolean", (text) => {
    expect(problemsOf({ MANAGER_QEMU_ENABLE_KVM: text })["MANAGER_QEMU_ENABLE_KVM"]).toContain(
      `strconv.ParseBool: parsing "${text}": invalid syntax`,
    );
  });

  test("durations are Go's, numbers may have a plus sign", () => {
    const { config } = loadConfig({
      DROVER_BACKOFF: "1m30s",
      MANAGER_HTTP_SERVER_IDLE_TIMEOUT: "-1s",
      MANAGER_MAX_VMS: "+3",
      DROVER_SWEEP_INTERVAL: "1us",
    });
    expect(config.launch.backoffMs).toBe(90_000);
    expect(config.http.idleTimeoutMs).toBe(0);
    expect(config.manager.maxVms).toBe(3);
    expect(config.sweepMs).toBe(1);
  });

  test.each([["5"], ["5 s"], ["1d"], ["0"], ["-1s"], ["600h"]])("%s is no time for a retry to wait", (text) => {
    expect(problemsOf({ DROVER_BACKOFF: text })["DROVER_BACKOFF"]).toContain("Go duration");
  });

  test.each([
    ["INFO", "info"],
    ["Warn", "warn"],
    ["info+2", "warn"],
    ["error-100", "debug"],
    ["ERROR+4", "error"],
  ])("log level %s means %s", (text, level) => {
    expect(loadConfig({ MANAGER_LOG_LEVEL: text }).config.manager.logLevel).toBe(level);
  });

  test.each(["6100", "1-2-3", "6200-6100", "0-10", "0-70000", "6100-65536", " 6100-6200", "6100 -6200", "a6100-6200"])(
    "the port range %s is refused",
    (text) => {
      expect(problemsOf({ MANAGER_QEMU_HOST_FWD_RANGE: text })["MANAGER_QEMU_HOST_FWD_RANGE"]).toContain("first-last");
    },
  );

  test("of what Cocos reads as a range, drover takes only what is one", () => {
    const taken = portRanges
      .map((range) => range.in)
      .filter((text) => !("MANAGER_QEMU_HOST_FWD_RANGE" in problemsOf({ MANAGER_QEMU_HOST_FWD_RANGE: text })));
    expect(taken).toEqual(["6100-6200"]);
  });

  test("a range may be a single port", () => {
    expect(loadConfig({ MANAGER_QEMU_HOST_FWD_RANGE: "6100-6100" }).config.qemu.hostFwdRange).toEqual({
      first: 6100,
      last: 6100,
    });
  });

  test.each(["1X", "M", "-1M", "1 G", "0", "0.0001B"])("%s is no memory size", (text) => {
    expect(problemsOf({ MANAGER_QEMU_MEMORY_SIZE: text })["MANAGER_QEMU_MEMORY_SIZE"]).toContain(
      "a size as QEMU writes it",
    );
  });

  test("lists lose blanks and what stands twice", () => {
    expect(loadConfig({ DROVER_POOLS: " gpu, default,gpu ," }).config.pools).toEqual(["gpu", "default"]);
  });

  test("a text of blanks is kept as it is, as Cocos does", () => {
    expect(loadConfig({ MANAGER_QEMU_KERNEL_CMDLINE: " " }).config.qemu.kernelCmdline).toBe(" ");
  });

  test("the key prefix needs its braces", () => {
    expect(problemsOf({ DROVER_REDIS_PREFIX: "drover" })["DROVER_REDIS_PREFIX"]).toContain("braces");
    expect(loadConfig({ DROVER_REDIS_PREFIX: "a{b}c" }).config.redis.prefix).toBe("a{b}c");
  });
});

describe("problems", () => {
  test("all of them are listed at once, each with name, value and what is allowed", () => {
    const env = {
      MANAGER_QEMU_SMP_COUNT: "four",
      MANAGER_QEMU_ENABLE_KVM: "on",
      DROVER_FIRMWARE: "bios",
      MANAGER_QEMU_DST_DISK_FILE: "/d.qcow2",
    };
    const problems = problemsOf(env);
    expect(Object.keys(problems).sort()).toEqual(Object.keys(env).sort());
    for (const [name, value] of Object.entries(env)) expect(problems[name]).toContain(JSON.stringify(value));
    expect(problems["DROVER_FIRMWARE"]).toBe(
      '"bios" is not allowed; allowed: one of ovmf, seabios. Or leave it unset: the default is ovmf.',
    );
    expect(() => loadConfig(env)).toThrow(/^The configuration has 4 problems:\n {2}MANAGER_QEMU_ENABLE_KVM: "on"/);
  });

  test("a variable may be set under either of its names", () => {
    for (const name of ["MANAGER_QEMU_SEV_SNP_CBITPOS", "MANAGER_QEMU_SEV_SNP_CBIT_POS"]) {
      expect(loadConfig({ [name]: "47" }).config.qemu.sevSnp.cBitPos).toBe(47);
    }
    expect(loadConfig({ REDIS_URL: "redis://127.0.0.1:1" }).config.redis.url).toBe("redis://127.0.0.1:1");
  });

  test("both names with one value agree, with two they conflict, an empty one does not count", () => {
    expect(
      loadConfig({ MANAGER_QEMU_SEV_SNP_CBITPOS: "47", MANAGER_QEMU_SEV_SNP_CBIT_POS: "+47" }).config.qemu.sevSnp
        .cBitPos,
    ).toBe(47);
    expect(
      loadConfig({ MANAGER_QEMU_SEV_SNP_CBITPOS: "", MANAGER_QEMU_SEV_SNP_CBIT_POS: "47" }).config.qemu.sevSnp.cBitPos,
    ).toBe(47);
    expect(problemsOf({ MANAGER_QEMU_SEV_SNP_CBITPOS: "47", MANAGER_QEMU_SEV_SNP_CBIT_POS: "51" })).toEqual({
      MANAGER_QEMU_SEV_SNP_CBIT_POS:
        '"51" contradicts MANAGER_QEMU_SEV_SNP_CBITPOS, which is "47": both name the same setting. Unset one of them.',
    });
  });

  test("a kernel or RAM disk of blanks is refused without a disk only", () => {
    const blank = { MANAGER_QEMU_DISK_IMG_KERNEL_FILE: " ", MANAGER_QEMU_DISK_IMG_ROOTFS_FILE: "\u00a0" };
    expect(Object.keys(problemsOf(blank))).toEqual(Object.keys(blank));
    expect(problemsOf({ ...blank, MANAGER_QEMU_ENABLE_DISK: "true" })).toEqual({});
    expect(Object.keys(problemsOf({ MANAGER_QEMU_ENABLE_DISK: "true", MANAGER_QEMU_SRC_DISK_FILE: " " }))).toEqual([
      "MANAGER_QEMU_SRC_DISK_FILE",
    ]);
  });

  test.each([
    [{ MANAGER_QEMU_SMP_COUNT: "65" }, "MANAGER_QEMU_SMP_COUNT"],
    [{ MANAGER_QEMU_MEMORY_SIZE: "31G" }, "MANAGER_QEMU_MEMORY_SIZE"],
    [{ MANAGER_QEMU_MEMORY_SIZE: "30G" }, "MANAGER_QEMU_MAX_MEMORY"],
    [{ MANAGER_QEMU_MAX_MEMORY: "4096" }, "MANAGER_QEMU_MEMORY_SIZE"], // bytes
    [{ MANAGER_QEMU_ENABLE_SEV_SNP: "true", MANAGER_QEMU_ENABLE_TDX: "true" }, "MANAGER_QEMU_ENABLE_TDX"],
    [{ MANAGER_HTTP_SERVER_CERT: "/c.pem" }, "MANAGER_HTTP_SERVER_KEY"],
    [{ MANAGER_GRPC_SERVER_KEY: "/k.pem" }, "MANAGER_GRPC_SERVER_CERT"],
    [{ MANAGER_GRPC_PORT: "7003" }, "MANAGER_GRPC_PORT"],
    [{ DROVER_BACKOFF: "10m" }, "DROVER_BACKOFF"],
    [{ MANAGER_QEMU_HOST_FWD_RANGE: "7003-7003" }, "MANAGER_QEMU_HOST_FWD_RANGE"],
  ])("%o do not go together", (env, field) => {
    expect(Object.keys(problemsOf(env))).toEqual([field]);
  });

  test("a value that is wrong by itself is no second problem between values", () => {
    expect(Object.keys(problemsOf({ MANAGER_QEMU_SMP_COUNT: "x", MANAGER_QEMU_SMP_MAXCPUS: "2" }))).toEqual([
      "MANAGER_QEMU_SMP_COUNT",
    ]);
  });
});

describe("warnings", () => {
  const warningsOf = (env: Record<string, string>): Record<string, string> =>
    Object.fromEntries(loadConfig(env).warnings.map(({ field, message }) => [field, message]));

  test("an unknown name is told with the nearest one", () => {
    expect(
      warningsOf({
        MANAGER_QEMU_MEMORY_SIZ: "1G",
        DROVER_REDDIS_URL: "x",
        MANAGER_SOMETHING_ELSE_ALTOGETHER: "",
        MEMORY_SIZE: "1G",
      }),
    ).toEqual({
      MANAGER_QEMU_MEMORY_SIZ: "Nothing reads this name; the nearest one is MANAGER_QEMU_MEMORY_SIZE.",
      DROVER_REDDIS_URL: "Nothing reads this name; the nearest one is DROVER_REDIS_URL.",
      MANAGER_SOMETHING_ELSE_ALTOGETHER: "Nothing reads this name.",
    });
  });

  test("names of cocos-cli and of the VMs are known", () => {
    expect(warningsOf({ MANAGER_GRPC_CLIENT_CERT: "c.pem", DROVER_URL: "http://h" })).toEqual({
      MANAGER_GRPC_CLIENT_CERT: "A variable of cocos-cli: its own certificate.",
    });
    expect(warningsOf({ MANAGER_QEMU_CERTS_MOUNT: "/x" })["MANAGER_QEMU_CERTS_MOUNT"]).toContain("no effect");
  });

  test("MANAGER_GRPC_URL is where gRPC listens, unless host or port is set", () => {
    const listensAt = (env: Record<string, string>) => {
      const { host, port } = loadConfig(env).config.grpc;
      return `${host} ${port}`;
    };
    expect(listensAt({ MANAGER_GRPC_URL: "localhost:7005" })).toBe("localhost 7005");
    expect(listensAt({ MANAGER_GRPC_URL: ":7005" })).toBe("127.0.0.1 7005");
    expect(listensAt({ MANAGER_GRPC_URL: "http://[::1]:7005/", MANAGER_GRPC_HOST: "" })).toBe("::1 7005");
    expect(listensAt({ MANAGER_GRPC_URL: "localhost:7005", MANAGER_GRPC_PORT: "7002" })).toBe("127.0.0.1 7002");
    expect(listensAt({ MANAGER_GRPC_URL: "h:7005", MANAGER_GRPC_HOST: "0.0.0.0" })).toBe("0.0.0.0 7001");
    expect(valuesOf({ MANAGER_GRPC_URL: "localhost:7005" }).get("MANAGER_GRPC_PORT")).toBe("7005");
    expect(reservedPorts(loadConfig({ MANAGER_GRPC_URL: "h:6150" }).config)).toEqual([6150]);
    expect(reservedPorts(loadConfig({ DROVER_WORKER_METRICS: "127.0.0.1:6151" }).config)).toEqual([6151]);
    expect(warningsOf({ MANAGER_GRPC_URL: "h:1", MANAGER_GRPC_PORT: "7002" })).toEqual({
      MANAGER_GRPC_URL:
        "Has no effect here, because MANAGER_GRPC_PORT is set; cocos-cli reads it as the address to call.",
    });
    for (const wrong of ["localhost", "7001", "h:70000", "h:x", "a b:1", "h:1/path"])
      expect(problemsOf({ MANAGER_GRPC_URL: wrong })["MANAGER_GRPC_URL"], wrong).toContain("host:port");
  });

  test("drover's own ports are kept out of the VMs' range", () => {
    const loaded = loadConfig({ MANAGER_QEMU_HOST_FWD_RANGE: "6000-7003" });
    expect(reservedPorts(loaded.config)).toEqual([6379, 7001, 7003]);
    expect(loaded.warnings.map(({ field }) => field)).toEqual([
      "MANAGER_GRPC_PORT",
      "MANAGER_HTTP_PORT",
      "DROVER_REDIS_URL",
    ]);
    expect(
      reservedPorts(
        loadConfig({ MANAGER_QEMU_HOST_FWD_RANGE: "6000-6500", DROVER_REDIS_URL: "redis://:p@far:6379" }).config,
      ),
    ).toEqual([]);
  });
});

describe("secrets", () => {
  test("a wrong key is told without a byte of it", () => {
    const secret = "c2VjcmV0LXNlY3JldA==";
    for (const text of [
      secret,
      `k1:${secret}`,
      `${secret}:k1`,
      `k1:${KEY_BYTES},k1:${KEY_BYTES}`,
      `abcdefghijklmnopqrstuvwxyz:x`,
    ]) {
      const problem = problemsOf({ DROVER_SECRETS_KEY: text })["DROVER_SECRETS_KEY"] ?? "";
      expect(problem).toContain("id:base64 of 32 bytes");
      for (const part of [secret, KEY_BYTES, "abcdefghijklmnopqrstuvwxyz"]) expect(problem).not.toContain(part);
    }
  });

  test("several keys are taken", () => {
    expect(loadConfig({ DROVER_SECRETS_KEY: `k2:${KEY_BYTES},k1:${KEY_BYTES}` }).config.secrets.keys).toContain("k2:");
  });

  test("the description of a configuration holds no secret and no password", () => {
    const rows = describeConfig(
      loadConfig({
        DROVER_SECRETS_KEY: `k1:${KEY_BYTES}`,
        REDIS_URL: "rediss://user:pa:ss@w0rd@redis.example.org:6380/0",
        MANAGER_HTTP_SERVER_CERT: "-----BEGIN CERTIFICATE-----\nAAAA",
        MANAGER_HTTP_SERVER_KEY: "-----BEGIN PRIVATE KEY-----\nBBBB",
      }),
    );
    expect(JSON.stringify(rows)).not.toMatch(new RegExp(`${KEY_BYTES.slice(0, 20)}|w0rd|BBBB|AAAA`));
    expect(rows.find(({ name }) => name === "DROVER_REDIS_URL")).toEqual({
      group: "drover: Redis",
      name: "DROVER_REDIS_URL",
      value: "rediss://user:***@redis.example.org:6380/0",
      source: "alias",
      alias: "REDIS_URL",
    });
    expect(rows.find(({ name }) => name === "DROVER_SECRETS_KEY")).toMatchObject({
      value: "(set, not shown)",
      source: "env",
    });
  });

  test("a password in a refused URL is not told either", () => {
    expect(JSON.stringify(problemsOf({ DROVER_REDIS_URL: "http://u:hunter2@h" }))).not.toContain("hunter2");
  });
});
