import http2 from "node:http2";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { LaunchFailure } from "../../../src/contract/causes.ts";
import { ConsoleWatch } from "../../../src/qemu/console-watch.ts";
import { isPortFree } from "../../../src/qemu/port-check.ts";
import { waitForTcpBytes } from "../../../src/qemu/readiness.ts";
import { parseHostForwards } from "../../../src/qemu/user-network.ts";

const servers: { close(): unknown }[] = [];
const sockets = new Set<Socket>();

afterEach(() => {
  for (const socket of sockets) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

function listen(server: Server | http2.Http2Server): Promise<number> {
  servers.push(server);
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port)));
}

test("a server that speaks first is ready", async () => {
  const port = await listen(createServer((socket) => socket.write("220 hello")));
  expect(await waitForTcpBytes({ host: "127.0.0.1", port }, { timeoutMs: 5_000 })).toBeLessThan(2_000);
});

test("a server that waits to be spoken to is ready: HTTP/2, and with it gRPC", async () => {
  const sessions = http2.createServer();
  let isPreface = false;
  sessions.on("session", () => {
    isPreface = true;
  });
  // As grpc-go does, it says nothing before it has seen the client's preface.
  const port = await listen(
    createServer((socket) => {
      socket.once("data", (chunk) => {
        socket.unshift(chunk);
        sessions.emit("connection", socket);
      });
    }),
  );
  expect(await waitForTcpBytes({ host: "127.0.0.1", port }, { timeoutMs: 5_000 })).toBeLessThan(2_000);
  expect(isPreface).toBe(true);
});

test("a port that accepts and stays silent, or closes at once, is not ready; a later answer is seen", async () => {
  let tries = 0;
  let open = 0;
  let openMost = 0;
  const port = await listen(
    createServer((socket) => {
      tries += 1;
      open += 1;
      openMost = Math.max(openMost, open);
      socket.on("close", () => {
        open -= 1;
      });
      socket.resume();
      if (tries % 3 === 0) socket.end();
      if (tries > 8) socket.write("agent ok\n");
    }),
  );
  await waitForTcpBytes({ host: "127.0.0.1", port }, { timeoutMs: 10_000 });
  expect(tries).toBeGreaterThan(8);
  expect(openMost).toBeLessThanOrEqual(6);
});

test("waiting ends with the boot deadline, and at once when nobody wants to know any more", async () => {
  const port = await listen(createServer(() => undefined));
  const target = { host: "127.0.0.1", port };
  const failed = waitForTcpBytes(target, { timeoutMs: 120 });
  await expect(failed).rejects.toBeInstanceOf(LaunchFailure);
  await expect(failed).rejects.toMatchObject({ failure: { code: "boot_timeout" } });
  const reason = new Error("removed");
  const gone = new AbortController();
  const waiting = waitForTcpBytes(target, { timeoutMs: 60_000, signal: gone.signal });
  gone.abort(reason);
  await expect(waiting).rejects.toBe(reason);
});

test("a text is found in the console also when chunks cut it", async () => {
  const watch = new ConsoleWatch("agent röady");
  const bytes = Buffer.from("noise\nagent röady\n");
  for (const byte of bytes) watch.feed({ bytes: Buffer.from([byte]), skipped: false });
  expect(await watch.wait({ timeoutMs: 1_000 })).toBeLessThan(1_000);
});

test("halves of a text with a gap between them are no match, and waiting is bounded", async () => {
  const watch = new ConsoleWatch("ready");
  watch.feed({ bytes: Buffer.from("rea"), skipped: false });
  watch.feed({ bytes: Buffer.from("dy"), skipped: true });
  await expect(watch.wait({ timeoutMs: 20 })).rejects.toMatchObject({ failure: { code: "boot_timeout" } });
  const reason = new Error("removed");
  await expect(watch.wait({ timeoutMs: 60_000, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  expect(() => new ConsoleWatch("")).toThrow(TypeError);
});

test("a port is free or not; a foreign address is an error", async () => {
  const port = await listen(createServer());
  expect(await isPortFree("127.0.0.1", port)).toBe(false);
  expect(await isPortFree("", port)).toBe(false);
  const server = servers.pop();
  await new Promise<void>((resolve) => (server as Server).close(() => resolve()));
  expect(await isPortFree("127.0.0.1", port)).toBe(true);
  expect(await isPortFree("", port)).toBe(true);
  await expect(isPortFree("192.0.2.1", port)).rejects.toMatchObject({ failure: { code: "qemu_option_invalid" } });
});

test("the forwarded ports are read from QEMU's own table", () => {
  const text = [
    "Hub -1 (vmnic):",
    "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ",
    "  TCP[ESTABLISHED]   12       127.0.0.1 40000       10.0.2.15  7002     0     0",
    "  TCP[HOST_FORWARD]   8       127.0.0.1 34395       10.0.2.15  7002     0     0",
    "  TCP[HOST_FORWARD]   9               * 34396       10.0.2.15    22     0     0",
    "  UDP[236 sec]       24       10.0.2.15 60424        10.0.2.3    53     0     0",
  ].join("\r\n");
  expect(parseHostForwards(text)).toEqual([
    { address: "127.0.0.1", port: 34395, guestAddress: "10.0.2.15", guestPort: 7002 },
    { address: "*", port: 34396, guestAddress: "10.0.2.15", guestPort: 22 },
  ]);
  expect(parseHostForwards("")).toEqual([]);
});
