import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { QmpClient } from "../../../src/qemu/qmp-client.ts";
import { connectQmp } from "../../../src/qemu/qmp-connect.ts";
import { LineSplitter, parseQmpLine, QMP_LINE_MAX_BYTES, type QmpEvent } from "../../../src/qemu/qmp-protocol.ts";
import { waitFor } from "../../helpers/wait-for.ts";

const GREETING =
  '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}}\r\n';
const STAMP = '"timestamp": {"seconds": 1795461956, "microseconds": 512345}';

test("the messages of QEMU 7.2 are understood", () => {
  expect(parseQmpLine(GREETING)).toEqual({ kind: "greeting", version: "7.2.22" });
  expect(parseQmpLine('{"return": {}, "id": 1}')).toEqual({ kind: "reply", id: 1, value: {} });
  expect(parseQmpLine('{"id": 6, "error": {"class": "GenericError", "desc": "no"}}')).toEqual({
    kind: "refusal",
    id: 6,
    description: "no",
  });
  expect(parseQmpLine(`{${STAMP}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}`)).toEqual({
    kind: "event",
    event: { name: "SHUTDOWN", data: { guest: true, reason: "guest-shutdown" }, atMs: 1795461956512 },
  });
  expect(parseQmpLine(`{${STAMP}, "event": "STOP"}`)).toMatchObject({
    kind: "event",
    event: { name: "STOP", data: {} },
  });
});

test.each(["", "null", "[]", "{", '{"event": 1}', '{"return": {}}', '{"QMP": {}}', '{"error": "x"}', "\u0000"])(
  "what is not QMP is malformed: %j",
  (line) => expect(parseQmpLine(line).kind).toBe("malformed"),
);

test("no line can make the parser throw", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (line) => {
      expect(parseQmpLine(line)).toHaveProperty("kind");
    }),
  );
});

test("lines come out whole however they are cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: fc.constantFrom("a", "ü", "€"), minLength: 1 })),
      fc.array(fc.nat(40)),
      (lines, cuts) => {
        const stream = Buffer.from(lines.map((line) => `${line}\r\n`).join(""));
        const splitter = new LineSplitter();
        const out: string[] = [];
        let at = 0;
        for (const cut of [...cuts, stream.length]) {
          out.push(...splitter.push(stream.subarray(at, at + cut)));
          at += cut;
        }
        out.push(...splitter.push(stream.subarray(at)));
        expect(out).toEqual(lines);
      },
    ),
  );
});

test("a line that never ends is refused", () => {
  const splitter = new LineSplitter();
  const piece = Buffer.alloc(QMP_LINE_MAX_BYTES / 2, "x");
  splitter.push(piece);
  splitter.push(piece);
  expect(() => splitter.push(Buffer.from("x"))).toThrow(RangeError);
});

let directory: string;
let server: Server;
let sockets: Socket[];
let path: string;
const clients: QmpClient[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "dq-qmp-"));
  path = join(directory, "qmp.sock");
  sockets = [];
  server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    socket.write(GREETING);
  });
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const socket of sockets) socket.destroy();
  server.close();
  await rm(directory, { recursive: true, force: true });
});

async function connect(timeoutMs = 5_000): Promise<QmpClient> {
  const client = await connectQmp({ socketPath: path, timeoutMs, isAlive: () => true });
  clients.push(client);
  return client;
}

const listen = () => new Promise<void>((resolve) => server.listen(path, resolve));
const serverSocket = () => waitFor(() => sockets[0]);

test("a client waits for a socket that is not there yet", async () => {
  const connecting = connect();
  await listen();
  expect(await (await connecting).greeting).toBe("7.2.22");
});

test("events that come before anybody listens are kept, in order", async () => {
  await listen();
  const client = await connect();
  (await serverSocket()).write(`{${STAMP}, "event": "RESET"}\n{${STAMP}, "event": "STOP"}\n`);
  await waitFor(() => client.lastHeardMs > 0);
  const seen: QmpEvent[] = [];
  client.listen((event) => seen.push(event));
  await waitFor(() => seen.length === 2);
  expect(seen.map(({ name }) => name)).toEqual(["RESET", "STOP"]);
});

test("every command is answered by its own reply, in whatever order they come", async () => {
  await listen();
  const client = await connect();
  const socket = await serverSocket();
  const asked: { execute: string; id: number }[] = [];
  socket.on("data", (chunk) => {
    for (const line of chunk.toString().trim().split("\n")) asked.push(JSON.parse(line));
    if (asked.length < 3) return;
    const idOf = (name: string) => asked.find(({ execute }) => execute === name)?.id;
    socket.write(`{"return": {"UUID": "u"}, "id": ${idOf("query-uuid")}}\n`);
    socket.write(`{"id": ${idOf("query-status")}, "error": {"class": "GenericError", "desc": "not now"}}\n`);
  });
  const status = client.execute("query-status", {}, { timeoutMs: 5_000 });
  const uuid = client.execute("query-uuid", {}, { timeoutMs: 5_000 });
  await expect(status).rejects.toMatchObject({ code: "refused", message: "not now" });
  expect(await uuid).toEqual({ UUID: "u" });
});

test("a reply of an unknown form is refused, not believed", async () => {
  await listen();
  const client = await connect();
  const socket = await serverSocket();
  socket.on("data", () => socket.write('{"return": {"status": 5}, "id": 2}\n'));
  await expect(client.execute("query-status", {}, { timeoutMs: 5_000 })).rejects.toMatchObject({ code: "malformed" });
  expect(client.isOpen).toBe(true);
});

test("a command without an answer ends in time, its late answer is dropped, and too many of them are refused", async () => {
  await listen();
  const client = await connect();
  const late = await Promise.allSettled(
    Array.from({ length: 40 }, () => client.execute("query-status", {}, { timeoutMs: 20 })),
  );
  const codes = late.map((result) => (result.status === "rejected" ? result.reason.code : "answered"));
  expect(codes.filter((code) => code === "timeout").length).toBe(31); // one place is held by qmp_capabilities
  expect(codes.filter((code) => code === "overloaded").length).toBe(9);
  const socket = await serverSocket();
  for (let id = 1; id <= 32; id += 1) socket.write(`{"return": {}, "id": ${id}}\n`);
  await waitFor(async () => {
    const answer = client.execute("cont", {}, { timeoutMs: 200 });
    socket.write(`{"return": {}, "id": 33}\n{"return": {}, "id": 34}\n{"return": {}, "id": 35}\n`);
    return (await answer) !== undefined;
  });
});

test.each([
  ["garbage", "}{\n", "malformed"],
  ["an endless line", "x".repeat(QMP_LINE_MAX_BYTES + 10), "malformed"],
  ["an error without an id", '{"error": {"class": "GenericError", "desc": "JSON parse error"}}\n', "malformed"],
])("%s closes the connection and rejects what is under way", async (_name, text, code) => {
  await listen();
  const client = await connect();
  const pending = client.execute("query-status", {}, { timeoutMs: 5_000 });
  (await serverSocket()).write(text);
  await expect(pending).rejects.toMatchObject({ code });
  expect((await client.closed).code).toBe(code);
  await expect(client.execute("cont", {}, { timeoutMs: 1 })).rejects.toMatchObject({ code });
});

test("a server that goes away closes the client", async () => {
  await listen();
  const client = await connect();
  const pending = client.execute("query-status", {}, { timeoutMs: 5_000 });
  (await serverSocket()).destroy();
  await expect(pending).rejects.toMatchObject({ code: "closed" });
});

test("no socket, no greeting and a dead process are told apart", async () => {
  const dial = { socketPath: path, timeoutMs: 50, isAlive: () => true };
  await expect(connectQmp(dial)).rejects.toMatchObject({ code: "no_socket" });
  await expect(connectQmp({ ...dial, timeoutMs: 60_000, isAlive: () => false })).rejects.toMatchObject({
    code: "process_gone",
  });
  server.removeAllListeners("connection");
  server.on("connection", (socket) => sockets.push(socket));
  await listen();
  await expect(connectQmp(dial)).rejects.toMatchObject({ code: "busy" });
  const reason = new Error("stop");
  await expect(connectQmp({ ...dial, timeoutMs: 60_000, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  const later = new AbortController();
  const connecting = connectQmp({ ...dial, timeoutMs: 60_000, signal: later.signal });
  later.abort(reason);
  await expect(connecting).rejects.toBe(reason);
});
