import { randomUUID } from "node:crypto";
import type { ChannelCredentials } from "@grpc/grpc-js";
import type { AuditEntry } from "../../src/producer/access/audit.ts";
import type { Credentials } from "../../src/producer/access/authenticator.ts";
import type { ApiDeps } from "../../src/producer/api-deps.ts";
import { type RunningGrpc, startGrpc } from "../../src/producer/grpc/start-grpc.ts";
import type { Principal } from "../../src/producer/principal.ts";
import { HostRegistry } from "../../src/queue/host-registry.ts";
import { bootId } from "../../src/runtime/process-identity.ts";
import { Scope } from "../../src/runtime/scope.ts";
import { type CocosClient, openCocosClient } from "../helpers/cocos-client.ts";
import { hostDescription } from "../helpers/host-descriptions.ts";
import { type HttpWorld, type HttpWorldOptions, openHttpWorld } from "./http-world.ts";

export interface GrpcWorld extends AsyncDisposable {
  readonly http: HttpWorld;
  readonly deps: ApiDeps;
  readonly grpc: RunningGrpc;
  readonly client: CocosClient;
  readonly audited: AuditEntry[];
  /** Registers a live host that serves the pool `default`; on this very machine unless told otherwise. */
  addHost(over?: Partial<Parameters<typeof hostDescription>[0]>): Promise<void>;
}

export interface GrpcWorldOptions extends Omit<HttpWorldOptions, "identify"> {
  /** Who calls, in place of what the server would find out by itself. */
  readonly whoIs?: (credentials: Credentials) => Principal;
  /** Under TLS: how the client speaks. */
  readonly channel?: ChannelCredentials;
}

/** The gRPC API over a real Redis, with a client as Cocos has it. */
export async function openGrpcWorld({ whoIs, channel, ...options }: GrpcWorldOptions = {}): Promise<GrpcWorld> {
  const scope = new Scope();
  try {
    const http = scope.own(await openHttpWorld(options), (world) => world[Symbol.asyncDispose]());
    const audited: AuditEntry[] = [];
    const deps: ApiDeps = {
      ...http.deps,
      ...(whoIs === undefined ? {} : { authenticator: { identify: async (credentials) => whoIs(credentials) } }),
      audit: { note: (entry) => void audited.push(entry) },
    };
    const grpc = scope.own(await startGrpc(deps), (running) => running.close());
    const client = scope.own(openCocosClient(grpc.address, channel === undefined ? {} : { channel }), (opened) =>
      opened[Symbol.dispose](),
    );
    const hosts = new HostRegistry({ redis: http.redis, keys: http.keys });
    return {
      http,
      deps,
      grpc,
      client,
      audited,
      async addHost(over = {}) {
        const serves = ["default", `@${over.hostId ?? "host-a"}`];
        await hosts.take(hostDescription({ bootId: bootId(), stateId: randomUUID(), serves, ...over }), 60_000);
      },
      [Symbol.asyncDispose]: () => scope.close(),
    };
  } catch (error) {
    await scope.close();
    throw error;
  }
}
