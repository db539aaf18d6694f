import { type ClientHttp2Session, type ClientHttp2Stream, connect, type IncomingHttpHeaders } from "node:http2";
import { connect as connectTcp } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { waitFor } from "../helpers/wait-for.ts";
import { type GrpcWorld, openGrpcWorld } from "./grpc-world.ts";

const CREATE = "/manager.ManagerService/CreateVm";
const MIB = 1_048_576;

let world: GrpcWorld;
beforeAll(async () => {
  world = await openGrpcWorld({ env: { MANAGER_GRPC_SERVER_READ_TIMEOUT: "300ms" } });
});
afterAll(() => world[Symbol.asyncDispose]());

/** A connection without a gRPC library, which would keep to the rules. */
function openRaw(): { session: ClientHttp2Session } & Disposable {
  const session = connect(`http://${world.grpc.address}`);
  session.on("error", () => undefined); // that it was cut is what a test may be about
  return { session, [Symbol.dispose]: () => session.destroy() };
}

function frame(message: Buffer, compressed = false): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(compressed ? 1 : 0);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

interface Ended {
  readonly status: string;
  readonly text: string;
}

/** Sends the bytes, and gives the status of the answer; `reset` when the stream was refused. */
function send(
  session: ClientHttp2Session,
  bytes: Buffer | undefined,
  headers: IncomingHttpHeaders = {},
): Promise<Ended> {
  return new Promise((resolve) => {
    const stream: ClientHttp2Stream = session.request({
      ":method": "POST",
      ":path": CREATE,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    const read = (got: IncomingHttpHeaders) => {
      if (got["grpc-status"] !== undefined)
        resolve({ status: String(got["grpc-status"]), text: decodeURI(String(got["grpc-message"])) });
    };
    stream.on("response", read);
    stream.on("trailers", read);
    stream.on("error", () => resolve({ status: "reset", text: "" }));
    stream.on("close", () => resolve({ status: "reset", text: "" }));
    stream.resume();
    if (bytes !== undefined) stream.end(bytes);
  });
}

/** Nothing of a refused call was queued. */
async function expectNoVm(): Promise<void> {
  expect(await world.deps.queue.waiting("default")).toBe(0);
}

describe("the gRPC listener", () => {
  test("refuses a message above 1 MiB", async () => {
    const { status, text } = await world.client.call("CreateVm", { agentCvmClientKey: Buffer.alloc(5 * MIB) });
    expect([status, text]).toEqual(["RESOURCE_EXHAUSTED", expect.stringContaining("larger than max")]);
    using raw = openRaw();
    const announced = Buffer.alloc(5);
    announced.writeUInt32BE(0xffff_ffff, 1);
    expect(await send(raw.session, announced), "by what its header says, before it is read").toMatchObject({
      status: "8",
    });
    await expectNoVm();
  });

  test("refuses what unpacks to more than 1 MiB, without keeping it", async () => {
    using raw = openRaw();
    const bomb = gzipSync(Buffer.alloc(200 * MIB), { level: 1 }); // 900 KB
    const before = process.memoryUsage().rss;
    const { status, text } = await send(raw.session, frame(bomb, true), { "grpc-encoding": "gzip" });
    expect([status, text]).toEqual(["8", expect.stringContaining("decompresses to a size larger than 1048576")]);
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * MIB);
    await expectNoVm();
  });

  test("takes 100 calls of a connection at a time; of 1,000 none is lost", async () => {
    using raw = openRaw();
    await waitFor(() => raw.session.remoteSettings.maxConcurrentStreams === 100, { what: "the server's settings" });
    const malformed = frame(Buffer.from("0aff", "hex"));
    const answers = await Promise.all(Array.from({ length: 1_000 }, () => send(raw.session, malformed)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set(["3"]));
    await expectNoVm();
  });

  test("ends a call whose message does not come", async () => {
    using raw = openRaw();
    const { status, text } = await send(raw.session, undefined);
    expect([status, text]).toEqual(["4", "the request did not arrive within 300 ms"]);
  });

  test.each([
    ["no protobuf", frame(Buffer.from("0aff", "hex")), {}, "3"],
    ["the end of a group that never began", frame(Buffer.from("0c", "hex")), {}, "3"],
    ["text that is no UTF-8", frame(Buffer.from("0a02c328", "hex")), {}, "3"],
    ["an unknown compression", frame(Buffer.from("00", "hex"), true), { "grpc-encoding": "snappy" }, "12"],
    ["bytes that are no gzip", frame(Buffer.from("00ff", "hex"), true), { "grpc-encoding": "gzip" }, "3"],
    ["a deadline that is none", frame(Buffer.alloc(0)), { "grpc-timeout": "soon" }, "3"],
    ["no message at all", Buffer.alloc(0), {}, "12"],
    ["two messages", Buffer.concat([frame(Buffer.alloc(0)), frame(Buffer.alloc(0))]), {}, "12"],
  ])("answers %s with a status, and queues nothing", async (_what, bytes, headers, expected) => {
    using raw = openRaw();
    expect(await send(raw.session, bytes, headers)).toMatchObject({ status: expected });
    await expectNoVm();
  });

  test("does not take more than 64 KiB of headers", async () => {
    using raw = openRaw();
    const large = Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`x-large-${index}`, "a".repeat(4_000)]));
    expect(await send(raw.session, frame(Buffer.alloc(0)), large)).toMatchObject({ status: "reset" });
    await expectNoVm();
  });

  test.each([
    ["HTTP/1.1", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["noise", "\u0000\u0001\u0002 not HTTP at all ".repeat(2_000)],
    ["frames that are none", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\u00ff\u00ff\u00ff\u00ff".repeat(50)],
  ])("closes a connection that speaks %s", async (_what, bytes) => {
    const { port, hostname } = new URL(`http://${world.grpc.address}`);
    const socket = connectTcp(Number(port), hostname);
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.on("error", () => undefined); // a reset is a way to close, too
    socket.write(Buffer.from(bytes, "latin1"));
    socket.resume();
    await closed;
    expect(await world.client.call("CVMInfo")).toMatchObject({ status: "OK" });
  });

  test("outlives a flood of calls that are reset at once", async () => {
    using raw = openRaw();
    const headers = { ":method": "POST", ":path": CREATE, "content-type": "application/grpc", te: "trailers" };
    for (let sent = 0; sent < 3_000 && !raw.session.destroyed; sent++) {
      const stream = raw.session.request(headers);
      stream.on("error", () => undefined);
      stream.close(8);
    }
    expect(await world.client.call("CVMInfo")).toMatchObject({ status: "OK" });
    await expectNoVm();
  });

  test("lets a hundred callers wait at once, and answers them all when it closes", async () => {
    const warnings: string[] = [];
    const note = ({ message }: Error) => void warnings.push(message);
    process.on("warning", note);
    await using crowd = await openGrpcWorld();
    const calls = Array.from({ length: 100 }, () => crowd.client.start("CreateVm", {}, { deadlineMs: 20_000 }));
    await Promise.all(calls.map(({ headers }) => headers));
    expect(await crowd.deps.queue.waiting("default")).toBe(100);
    await crowd.grpc.close();
    const ends = await Promise.all(calls.map(({ ended }) => ended));
    expect(new Set(ends.map(({ status }) => status))).toEqual(new Set(["RESOURCE_EXHAUSTED"]));
    process.off("warning", note);
    expect(warnings).toEqual([]);
  });

  test("knows no method but its own", async () => {
    using raw = openRaw();
    const headers = { ":path": "/manager.ManagerService/Shutdown" };
    expect(await send(raw.session, frame(Buffer.alloc(0)), headers)).toMatchObject({ status: "12" });
  });
});
