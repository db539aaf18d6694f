import { once } from "node:events";
import { execPath } from "node:process";
import { execa } from "execa";
import { expect, test } from "vitest";
import { openCocosClient } from "../helpers/cocos-client.ts";
import { openGrpcWorld } from "./grpc-world.ts";

/** Passes connections on to a port of this machine, as QEMU's user network does for a guest that calls 10.0.2.2. */
const FORWARD = `
const { connect, createServer } = require("node:net");
const server = createServer((from) => {
  const to = connect(Number(process.argv[1]), "127.0.0.1");
  from.pipe(to).pipe(from);
  for (const one of [from, to]) one.on("error", () => { from.destroy(); to.destroy(); });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
`;

/** The port of a program that passes connections on to `port`; with `-netdev user` among its arguments it counts as QEMU. */
async function forwarderTo(port: number, asQemu: boolean) {
  const netdev = asQemu ? ["-netdev", "user,id=vmnic"] : [];
  const child = execa(execPath, ["-e", FORWARD, "--", String(port), ...netdev], { reject: false, buffer: false });
  const [line] = await once(child.stdout, "data");
  return { port: Number(String(line)), [Symbol.dispose]: () => void child.kill("SIGKILL") };
}

test("a guest that calls its host's loopback is not the local operator, by HTTP or gRPC", async () => {
  await using world = await openGrpcWorld({ listen: true });
  const httpPort = Number(new URL(world.http.url).port);
  const grpcPort = Number(world.grpc.address.split(":").at(-1));
  const outcomes = async (asQemu: boolean) => {
    using http = await forwarderTo(httpPort, asQemu);
    using grpc = await forwarderTo(grpcPort, asQemu);
    using client = openCocosClient(`127.0.0.1:${grpc.port}`);
    const url = `http://127.0.0.1:${http.port}`;
    const headers = { connection: "close" };
    const answers = await Promise.all([
      fetch(`${url}/v1/vms`, { headers }),
      fetch(`${url}/v1/vms`, { method: "POST", body: "{}", headers }),
      fetch(`${url}/health`, { headers }),
    ]);
    const { status } = await client.call("CVMInfo", {});
    return [...answers.map((answer) => answer.status), status];
  };
  expect(await outcomes(true)).toEqual([401, 401, 200, "UNAUTHENTICATED"]);
  expect(await outcomes(false)).toEqual([200, 415, 200, "OK"]);
});
