import type { Writable } from "node:stream";
import { credentials, makeGenericClientConstructor, type ServiceDefinition, status } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { waitFor } from "../helpers/wait-for.ts";
import { type GrpcWorld, openGrpcWorld } from "./grpc-world.ts";

const HEALTH = loadSync("node_modules/grpc-health-check/proto/health/v1/health.proto", { enums: String });
const REFLECTION = "node_modules/@grpc/reflection/build/proto/grpc/reflection";

/** A client of any service, by its public proto. */
function openClient(address: string, service: unknown) {
  const definition = service as ServiceDefinition;
  const Client = makeGenericClientConstructor(definition, "Public");
  const client = new Client(address, credentials.createInsecure());
  const method = (name: string) => {
    const found = definition[name];
    if (found === undefined) throw new Error(`no method ${name}`);
    return found;
  };
  return {
    unary: (name: string, request: object) =>
      new Promise<unknown>((resolve) => {
        const { path, requestSerialize, responseDeserialize } = method(name);
        client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (error, answer) =>
          resolve(error === null ? answer : status[error.code]),
        );
      }),
    /** What comes in over a stream, and its status at the end. */
    stream(name: string, request: object) {
      const { path, requestSerialize, responseDeserialize, requestStream } = method(name);
      const stream = requestStream
        ? client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize)
        : client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
      if (requestStream) (stream as unknown as Writable).write(request);
      const got: unknown[] = [];
      stream.on("data", (answer: unknown) => got.push(answer));
      stream.on("error", () => undefined); // the status says it
      stream.on("status", ({ code }: { code: status }) => got.push(status[code]));
      return { got, cancel: () => stream.cancel() };
    },
    [Symbol.dispose]: () => client.close(),
  };
}

let world: GrpcWorld;
beforeEach(async () => {
  world = await openGrpcWorld({
    whoIs: () => {
      throw new Error("nobody may be asked");
    },
  });
});
afterEach(() => world[Symbol.asyncDispose]());

describe("health", () => {
  test('the services "" and "manager" serve, others are not known, and nobody is asked who they are', async () => {
    using client = openClient(world.grpc.address, HEALTH["grpc.health.v1.Health"]);
    expect(await client.unary("Check", { service: "" })).toEqual({ status: "SERVING" });
    expect(await client.unary("Check", { service: "manager" })).toEqual({ status: "SERVING" });
    expect(await client.unary("Check", { service: "other" })).toBe("NOT_FOUND");
    const unknown = client.stream("Watch", { service: "other" });
    await waitFor(() => unknown.got.length > 0);
    expect(unknown.got).toEqual([{ status: "SERVICE_UNKNOWN" }]);
  });

  test("a watcher hears that Redis is away, that it is back, and that the server goes", async () => {
    using client = openClient(world.grpc.address, HEALTH["grpc.health.v1.Health"]);
    const { got } = client.stream("Watch", { service: "manager" });
    await waitFor(() => got.length === 1);
    const away = vi.spyOn(world.deps.gate, "check").mockRejectedValue(new Error("Redis is away"));
    await waitFor(() => got.length === 2, { what: "the news that it is away" });
    away.mockRestore();
    await waitFor(() => got.length === 3, { what: "the news that it is back" });
    await world.grpc.close();
    await waitFor(() => got.length === 5);
    expect(got).toEqual([
      { status: "SERVING" },
      { status: "NOT_SERVING" },
      { status: "SERVING" },
      { status: "NOT_SERVING" },
      "RESOURCE_EXHAUSTED",
    ]);
  });
});

describe("reflection", () => {
  const versions = ["v1", "v1alpha"] as const;
  const request = { listServices: "" };
  const listOf = async (address: string, version: (typeof versions)[number]): Promise<unknown> => {
    const protos = loadSync(`${REFLECTION}/${version}/reflection.proto`, { oneofs: true });
    using client = openClient(address, protos[`grpc.reflection.${version}.ServerReflection`]);
    const { got } = client.stream("ServerReflectionInfo", request);
    await waitFor(() => got.length > 0);
    return got[0];
  };

  test.each(versions)("describes the services on loopback (%s)", async (version) => {
    await using open = await openGrpcWorld();
    expect(await listOf(open.grpc.address, version)).toMatchObject({
      listServicesResponse: {
        service: expect.arrayContaining([{ name: "manager.ManagerService" }, { name: "grpc.health.v1.Health" }]),
      },
    });
  });

  test("is off where it is switched off, and off beyond loopback unless switched on", async () => {
    await using off = await openGrpcWorld({ env: { DROVER_GRPC_REFLECTION: "false" } });
    expect(await listOf(off.grpc.address, "v1")).toBe("UNIMPLEMENTED");
    const beyond = { MANAGER_GRPC_HOST: "0.0.0.0", DROVER_INSECURE: "true" };
    await using far = await openGrpcWorld({ env: beyond });
    const at = far.grpc.address.replace("0.0.0.0", "127.0.0.1");
    expect(await listOf(at, "v1")).toBe("UNIMPLEMENTED");
    await using asked = await openGrpcWorld({ env: { ...beyond, DROVER_GRPC_REFLECTION: "true" } });
    const name = asked.grpc.address.replace("0.0.0.0", "127.0.0.1");
    expect(await listOf(name, "v1")).toMatchObject({ listServicesResponse: {} });
  });
});
