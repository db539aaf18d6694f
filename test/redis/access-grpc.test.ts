import { Client, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ROLES, type Role } from "../../src/contract/role.ts";
import { GRPC_RULES } from "../../src/producer/grpc/grpc-rules.ts";
import { type RunningGrpc, startGrpc } from "../../src/producer/grpc/start-grpc.ts";
import { TokenStore } from "../../src/queue/token-store.ts";
import { type HttpWorld, openHttpWorld } from "./http-world.ts";

const log: string[] = [];
const text = { viewer: "", submitter: "", operator: "", expired: "", revoked: "" };
let world: HttpWorld;
let grpc: RunningGrpc;
let client: Client;

beforeAll(async () => {
  world = await openHttpWorld({ log });
  const tokens = new TokenStore({ redis: world.redis, keys: world.keys });
  const add = (role: Role, expiresAtMs?: number) =>
    tokens.add({ owner: "red", role, label: "", createdBy: "test", expiresAtMs });
  for (const role of ROLES) text[role] = (await add(role)).text;
  text.expired = (await add("operator", Date.now() - 1)).text;
  const revoked = await add("operator");
  await tokens.remove(revoked.token.id);
  text.revoked = revoked.text;
  grpc = await startGrpc(world.deps);
  client = new Client(grpc.address, credentials.createInsecure());
});
afterAll(async () => {
  client.close();
  await grpc.close();
  await world[Symbol.asyncDispose]();
});

/** Bytes that are no message of any method: whoever gets in is told so, and nothing is done. */
const NO_MESSAGE = Buffer.from([0xff]);

function call(path: string, headers: Record<string, string>): Promise<string> {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  const bytes = (buffer: Buffer) => buffer;
  return new Promise((resolve) => {
    const deadline = Date.now() + 1_500;
    client.makeUnaryRequest(path, bytes, bytes, NO_MESSAGE, metadata, { deadline }, (error: ServiceError | null) =>
      resolve(error === null ? "OK" : `${status[error.code]}: ${error.details}`),
    );
  });
}
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

test.each(Object.entries(GRPC_RULES).filter(([, rule]) => rule !== "public"))(
  "%s asks for a token that counts",
  async (path) => {
    // Few enough that the limit of failures of one address is not met over all methods.
    const refused = [{}, bearer(text.expired), bearer(text.revoked)];
    for (const headers of refused) expect(await call(path, headers)).toMatch(/^UNAUTHENTICATED: /);
    expect(await call(path, {})).toMatch(/drover token add.*DROVER_GRPC_ANONYMOUS/);
    expect(await call(path, bearer(text.operator))).not.toMatch(/^UNAUTHENTICATED/);
  },
);

test("roles count, and a refused change stands in the audit without the token", async () => {
  expect(await call("/manager.ManagerService/CreateVm", bearer(text.viewer))).toContain("needs the role submitter");
  const lines = log.filter((line) => line.includes('"audit":true')).map((line) => JSON.parse(line));
  expect(lines.at(-1)).toMatchObject({
    action: "vm.submit",
    protocol: "grpc",
    outcome: "forbidden",
    from: "127.0.0.1",
  });
  await call("/manager.ManagerService/CVMInfo", bearer(text.revoked));
  const looks = log.filter((line) => line.includes('"action":"access"')).map((line) => JSON.parse(line));
  expect(looks.at(-1)).toMatchObject({ protocol: "grpc", outcome: "unauthenticated", owner: null });
  expect(log.join("")).not.toContain(text.viewer.slice(16));
});
