import { expect, test } from "vitest";
import { openCocosClient } from "../helpers/cocos-client.ts";
import { forwarderTo } from "../helpers/guest-forwarder.ts";
import { openGrpcWorld } from "./grpc-world.ts";

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
