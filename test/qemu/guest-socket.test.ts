import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { execa } from "execa";
import { expect, test } from "vitest";
import { isGuestSocket } from "../../src/runtime/guest-socket.ts";

async function listen() {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const next = async () => {
    const [socket] = (await once(server, "connection")) as [Socket];
    const { remoteAddress = "", remotePort = 0, localPort = 0 } = socket;
    return { remoteAddress, remotePort, localPort };
  };
  return { port: (server.address() as AddressInfo).port, next, [Symbol.dispose]: () => void server.close() };
}

/** QEMU itself makes the connection here, as it does for a guest's. */
function callFromQemu(port: number, netdev: readonly string[]) {
  const chardev = `socket,id=caller,host=127.0.0.1,port=${port}`;
  const base = ["-machine", "none", "-nodefaults", "-display", "none", "-chardev", chardev];
  return execa("qemu-system-x86_64", [...base, ...netdev], { reject: false, forceKillAfterDelay: 1_000 });
}

test.each([
  ["a QEMU with a user network", ["-netdev", "user,id=vmnic"], true],
  ["a QEMU without one, which has no guest that could call", [], false],
] as const)("%s", async (_name, netdev, isGuest) => {
  using server = await listen();
  const seen = server.next();
  const qemu = callFromQemu(server.port, netdev);
  try {
    expect(isGuestSocket(await seen)).toBe(isGuest);
  } finally {
    qemu.kill("SIGKILL");
    await qemu;
  }
});

test("a program of this machine", async () => {
  using server = await listen();
  const seen = server.next();
  const socket = connect(server.port, "127.0.0.1");
  expect(isGuestSocket(await seen)).toBe(false);
  socket.destroy();
  expect(isGuestSocket({ remoteAddress: "127.0.0.1", remotePort: 1, localPort: server.port }), "nobody's").toBe(false);
});
