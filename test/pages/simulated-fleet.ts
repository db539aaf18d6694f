import type { HostDescription } from "../../src/queue/host-description.ts";
import { Scope } from "../../src/runtime/scope.ts";
import { hostDescription } from "../helpers/host-descriptions.ts";
import { openTestHost, type TestHost } from "../redis/http-host.ts";
import { type HttpWorld, openHttpWorld } from "../redis/http-world.ts";

const LEASE_MS = 600_000;
const UP_MS = 3 * 86_400_000;
const PORTS = { first: 6100, last: 6199 };

export interface SimulatedFleet extends AsyncDisposable {
  readonly world: HttpWorld;
  readonly host: TestHost;
  readonly otherHost: TestHost;
  /** Gives the id. */
  submit(request: object): Promise<string>;
  /** A batch of so many VMs, of which hosts have taken none. Gives its id. */
  submitBatch(name: string, count: number): Promise<string>;
}

/** An API over a Redis in which four hosts have said something of themselves, and two of them do what a test says. */
export async function openSimulatedFleet(env: Readonly<Record<string, string>> = {}): Promise<SimulatedFleet> {
  const scope = new Scope();
  const world = scope.own(await openHttpWorld({ listen: true, env }), (opened) => opened[Symbol.asyncDispose]());
  const host = scope.own(openTestHost(world), (opened) => opened[Symbol.asyncDispose]());
  const otherHost = scope.own(openTestHost(world, "host-b"), (opened) => opened[Symbol.asyncDispose]());
  const takeLease = (over: Partial<HostDescription>) =>
    world.deps.hosts.take(
      hostDescription({
        version: "0.1.0",
        startedAtMs: Date.now() - UP_MS,
        ports: PORTS,
        bootId: `boot-of-${over.hostId}`,
        ...over,
      }),
      LEASE_MS,
    );
  await takeLease({ hostId: "host-a", slots: 8 });
  await takeLease({ hostId: "host-b", slots: 16, tee: "snp", address: "10.0.0.2", pools: ["default", "large"] });
  const cause = { code: "kvm_unavailable", message: "/dev/kvm: permission denied" } as const;
  const breaker = { openUntilMs: Date.now() + 240_000, failures: 3, cause };
  await takeLease({ hostId: "host-c", slots: 16, address: "10.0.0.3", breaker });
  await takeLease({ hostId: "host-d", slots: 8, address: "10.0.0.4" });
  await world.redis.del(world.keys.lease("host-d"));
  const post = async (url: string, payload: object): Promise<string> => {
    const reply = await world.app.inject({ method: "POST", url, payload });
    if (reply.statusCode >= 300) throw new Error(`${url} was answered ${reply.statusCode}: ${reply.body}`);
    return reply.json().id;
  };
  return {
    world,
    host,
    otherHost,
    submit: (request) => post("/v1/vms", request),
    submitBatch: (name, count) =>
      post("/v1/batches", { name, items: Array.from({ length: count }, (_, i) => ({ name: `${name}-${i + 1}` })) }),
    [Symbol.asyncDispose]: () => scope.close(),
  };
}
