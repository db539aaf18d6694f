import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { VmDetail, VmList } from "../../../src/contract/vm-view.ts";
import { FakeApi, sendProblem } from "./fake-api.ts";
import { runCli } from "./run-cli.ts";

const A = "3f2a91c4-1111-4222-8333-444455556666";
const B = "3f2a91c4-2222-4222-8333-444455556666";
const C = "77b01d20-1111-4222-8333-444455556666";
let api: FakeApi;

beforeEach(async () => {
  api = await FakeApi.start();
});

afterEach(() => api[Symbol.asyncDispose]());

const run = (...words: string[]) => runCli([...words, "--url", api.url]);

describe("ls", () => {
  test("gives a table with ids that can be told apart", async () => {
    api.add({ id: A, state: "running", host: "a1", address: { host: "127.0.0.1", port: 6100 } });
    api.add({ id: C, state: "queued", priority: "high" });
    const { out, exitCode } = await run("ls");
    expect(exitCode).toBe(0);
    expect(out.split("\n")).toEqual([
      "ID        STATE    AGE  HOST  ADDRESS         NOTE",
      "3f2a91c4  running   2m  a1    127.0.0.1:6100",
      "77b01d20  queued    2m                        high priority",
      "",
    ]);
  });

  test("sends its filters", async () => {
    await run(
      "ls",
      "--state",
      "running,ready",
      "--state",
      "failed",
      "--label",
      "team=x",
      "--label",
      "y",
      "--pool",
      "p",
      "--host",
      "h",
      "--owner",
      "o",
      "--cause",
      "guest_panic",
    );
    const { query } = api.seen[0] ?? { query: new URLSearchParams() };
    expect(query.getAll("state")).toEqual(["running", "ready", "failed"]);
    expect(query.getAll("label")).toEqual(["team=x", "y"]);
    expect(query.get("owner")).toBe("o");
    expect([query.get("pool"), query.get("host"), query.get("cause"), query.get("limit")]).toEqual([
      "p",
      "h",
      "guest_panic",
      "50",
    ]);
  });

  test("says that there are more, and --all reads every page", async () => {
    for (let index = 0; index < 700; index += 1) api.add();
    const some = await run("ls");
    expect(some.out.trim().split("\n")).toHaveLength(51);
    expect(some.err).toContain("--all");
    const all = VmList.parse(JSON.parse((await run("ls", "--all", "--json")).out));
    expect(all.items).toHaveLength(700);
    expect(all.next).toBeNull();
  });

  test("with --quiet prints whole ids only", async () => {
    api.add({ id: A });
    expect((await run("ls", "-q")).out).toBe(`${A}\n`);
  });

  test("says so when there is nothing, and prints no table", async () => {
    const { out, err, exitCode } = await run("ls");
    expect([out, exitCode]).toEqual(["", 0]);
    expect(err).toContain("drover submit");
  });
});

describe("ids", () => {
  test("may be the beginning of an id", async () => {
    api.add({ id: A });
    api.add({ id: C });
    expect(VmDetail.parse(JSON.parse((await run("get", "77b0", "--json")).out)).id).toBe(C);
    expect(VmDetail.parse(JSON.parse((await run("get", A.toUpperCase(), "--json")).out)).id).toBe(A);
  });

  test("that fit several VMs are refused with all of them", async () => {
    api.add({ id: A });
    api.add({ id: B });
    const { err, exitCode } = await run("get", "3f2a91c4");
    expect(exitCode).toBe(2);
    expect(err).toContain(A);
    expect(err).toContain(B);
  });

  test("that nobody has end with 3, whole or not", async () => {
    expect((await run("get", "3f2a91c4")).exitCode).toBe(3);
    expect((await run("get", A)).exitCode).toBe(3);
    expect((await run("get", "not-an-id")).exitCode).toBe(2);
  });
});

describe("rm", () => {
  test("removes several and reports each", async () => {
    api.add({ id: A });
    api.add({ id: C });
    const { out, exitCode } = await run("rm", A, "77b01d20");
    expect(exitCode).toBe(0);
    expect(out).toBe(`${A}  removed\n${C}  removed\n`);
  });

  test("goes on after one that is not there, and ends with 3", async () => {
    api.add({ id: C });
    const { out, err, exitCode } = await run("rm", A, C);
    expect(exitCode).toBe(3);
    expect(out).toBe(`${C}  removed\n`);
    expect(err).toContain(A);
  });

  test("with --wait stays until the VM has ended", async () => {
    api.add({ id: A, state: "running" });
    api.override = ({ method }, response) => {
      if (method !== "DELETE") return undefined;
      api.change(A, {
        state: "stopping",
        removal: { reason: "requested", by: "local", at: "2026-11-23T19:00:01.000Z" },
      });
      const { tail: _tail, forensics: _forensics, ...view } = api.vms.get(A) ?? {};
      response.writeHead(202, { "content-type": "application/json" }).end(JSON.stringify(view));
      setTimeout(() => {
        api.change(A, { state: "removed" });
        api.emit(A, "vm.removed", { reason: "requested" });
      }, 50);
      return true;
    };
    const { out, exitCode } = await run("rm", "--wait", A);
    expect([out, exitCode]).toEqual([`${A}  removed\n`, 0]);
  });

  test("with --timeout gives up with 5 and leaves the VM to itself", async () => {
    api.add({ id: A, state: "running" });
    api.override = ({ method }, response) => {
      if (method !== "DELETE") return undefined;
      const { tail: _tail, forensics: _forensics, ...view } = api.vms.get(A) ?? {};
      response.writeHead(202, { "content-type": "application/json" }).end(JSON.stringify(view));
      return true;
    };
    const { err, exitCode } = await run("rm", "--wait", "--timeout", "200ms", A);
    expect(exitCode).toBe(5);
    expect(err).toContain("not done within 200 ms");
  });
});

test("retry puts a failed VM back and is refused for another with a way out", async () => {
  api.add({ id: A, state: "failed" });
  api.add({ id: C, state: "running" });
  expect((await run("retry", A)).out).toBe(`${A}  queued\n`);
  const refused = await run("retry", C);
  expect(refused.exitCode).toBe(1);
  expect(refused.err).toContain("Only a failed VM can be retried");
});

test("console passes bytes into a pipe, and keeps control sequences off a screen", async () => {
  api.add({ id: A });
  api.consoles.set(A, "boot\u001b]0;title\u0007 \u001b[31mred\u001b[0m\u001b[2J\r\n");
  expect((await run("console", A)).out).toBe("boot\u001b]0;title\u0007 \u001b[31mred\u001b[0m\u001b[2J\r\n");
  const screen = await runCli(["console", A, "--url", api.url], { outIsScreen: true });
  expect(screen.out).toBe("boot \u001b[31mred\u001b[0m\r\n");
});

describe("errors", () => {
  test("of an API that is not there name the way out and end with 4", async () => {
    const { err, exitCode } = await runCli(["ls", "--url", "http://127.0.0.1:1"]);
    expect(exitCode).toBe(4);
    expect(err).toContain("drover up");
    expect(err).not.toContain("    at ");
  });

  test("of a stranger on the port say so", async () => {
    api.override = (_request, response) => {
      response.writeHead(200, { "content-type": "text/html" }).end("<h1>hello</h1>");
      return true;
    };
    const { err, exitCode } = await run("ls");
    expect(exitCode).toBe(4);
    expect(err).toContain("DROVER_URL");
  });

  test("list every field with its flag", async () => {
    api.override = (_request, response) => {
      sendProblem(response, "invalid_request", "ttl: must be above zero; labels.a: too long", [
        { field: "ttl", message: "must be above zero" },
        { field: "labels.a", message: "too long" },
      ]);
      return true;
    };
    const { err, exitCode } = await run("submit", "--ttl", "5m");
    expect(exitCode).toBe(2);
    expect(err).toContain("  - ttl (--ttl): must be above zero\n  - labels.a (--label): too long\n");
  });

  test("are JSON with --json", async () => {
    const { err, out, exitCode } = await run("get", A, "--json");
    expect([out, exitCode]).toEqual(["", 3]);
    expect(JSON.parse(err)).toEqual({
      error: {
        code: "vm_not_found",
        message: `there is no VM ${A}`,
        problems: [],
        hint: "List what there is with `drover ls`.",
        requestId: "req-1",
        exitCode: 3,
      },
    });
  });

  test("of a queue that is away end with 4", async () => {
    api.override = (_request, response) => {
      response.setHeader("retry-after", "1");
      sendProblem(response, "redis_unavailable", "Redis does not answer");
      return true;
    };
    const { err, exitCode } = await run("ls");
    expect(exitCode).toBe(4);
    expect(err).toContain("try again in 1 s");
  });

  test("that are redirects are not followed: a request may hold secrets", async () => {
    api.override = (_request, response) => {
      response.writeHead(307, { location: "http://127.0.0.1:1/" }).end();
      return true;
    };
    expect((await run("ls")).exitCode).toBe(4);
  });
});

test("the URL may come from DROVER_URL and keep a path; a bad one is wrong usage", async () => {
  api.override = ({ path }, response) => {
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ items: [], next: null }));
    return path === "/behind/v1/vms";
  };
  expect((await runCli(["ls"], { env: { DROVER_URL: `${api.url}/behind` } })).exitCode).toBe(0);
  for (const url of ["nonsense", "ftp://x", "http://user:pw@127.0.0.1"]) {
    expect((await runCli(["ls", "--url", url])).exitCode, url).toBe(2);
  }
});
