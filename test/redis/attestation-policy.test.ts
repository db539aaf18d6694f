import { generateKeyPairSync, randomUUID } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AttestationRecord } from "../../src/contract/attestation-record.ts";
import { attestationPolicy, openPolicySigner } from "../../src/producer/attestation-policy.ts";
import type { Principal } from "../../src/producer/principal.ts";
import { loadConfig } from "../../src/runtime/config/load-config.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { at, comidOf, hex, read, untag } from "../unit/attestation/cbor-reader.ts";
import { openTestHost, type TestHost } from "./http-host.ts";
import { type HttpWorld, openHttpWorld } from "./http-world.ts";

const MEASUREMENT = "0a".repeat(48);
const HOST_DATA = "0e".repeat(32);
const SNP: AttestationRecord = { platform: "snp", epoch: 1, product: "EPYC", measurement: MEASUREMENT };
const logger = pino({ level: "silent" });

let world: HttpWorld;
let host: TestHost;
beforeAll(async () => {
  world = await openHttpWorld();
  host = openTestHost(world);
});
afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

async function submit(): Promise<string> {
  return (await world.app.inject({ method: "POST", url: "/v1/vms", payload: {} })).json().id;
}

/** A VM that runs, with what its host has written of it. */
async function running(attestation: AttestationRecord | undefined, tee?: string): Promise<string> {
  const id = await submit();
  const launched = await host.take();
  await host.run(launched);
  if (attestation !== undefined)
    await world.redis.hset(world.keys.record(id), "attestation", JSON.stringify(AttestationRecord.parse(attestation)));
  if (tee !== undefined) await world.redis.hset(world.keys.record(id), "tee", tee);
  return id;
}

const policy = (id: string, headers: Record<string, string> = {}, of: HttpWorld = world) =>
  of.app.inject({ url: `/v1/vms/${id}/attestation-policy`, headers });

test("any API gives the same policy of a VM from its record, and the VM shows its host data", async () => {
  const id = await running({ ...SNP, hostData: HOST_DATA });
  const [one, two] = await Promise.all([policy(id), policy(id)]);
  expect([one.statusCode, one.headers["content-type"]]).toEqual([200, "application/rim+cbor"]);
  expect(one.rawPayload.equals(two.rawPayload)).toBe(true);
  const measurements = at(comidOf(read(one.rawPayload)), 4, 0, 0, 1);
  expect(hex(at(measurements, 0, 1, 2, 0, 1))).toBe(MEASUREMENT);
  expect(hex(untag(at(measurements, 1, 1, 4), 560))).toBe(HOST_DATA);
  expect((await world.app.inject(`/v1/vms/${id}`)).json()).toMatchObject({ hostData: HOST_DATA });
});

test("a policy is refused with the reason", async () => {
  const refusals: [string, RegExp][] = [
    [await running(undefined, "none"), /is a plain VM/],
    [await running(undefined, "none (switched off by MANAGER_QEMU_ENABLE_SEV_SNP)"), /is a plain VM/],
    [await running(undefined, "snp"), /notes no measurements/],
    [await running({ ...SNP, problem: "igvmmeasure is not there" }), /igvmmeasure is not there/],
    [await running({ platform: "tdx", epoch: 1, product: "x" }), /has not measured it/],
    [await running({ ...SNP, epoch: 7 }, "snp"), /notes no measurements/],
    [await submit(), /has not been launched yet/],
  ];
  for (const [id, reason] of refusals) {
    const reply = await policy(id);
    expect(reply.json()).toMatchObject({
      status: 409,
      code: "policy_unavailable",
      detail: expect.stringMatching(reason),
    });
    expect(reply.json().detail).toContain(id);
  }
  await host.take(); // the one that was not launched

  const given = await submit();
  await world.app.inject({ method: "DELETE", url: `/v1/vms/${given}` });
  expect((await policy(given)).json()).toMatchObject({ detail: expect.stringMatching(/ended before it was launched/) });

  const ofNewer = await running(SNP, "sev-next");
  await world.redis.hset(world.keys.record(ofNewer), "attestation", '{"platform":"sev-next"}');
  expect((await policy(ofNewer)).json(), "the record of a newer worker can be read").toMatchObject({
    code: "policy_unavailable",
    detail: expect.stringMatching(/notes no measurements that this API knows/),
  });
});

test("a VM that has ended keeps its policy; one that goes back to the queue has none until it is launched again", async () => {
  await using other = await openHttpWorld();
  await using itsHost = openTestHost(other);
  const { id } = (await other.app.inject({ method: "POST", url: "/v1/vms", payload: {} })).json();
  const launchWith = async (attestation: AttestationRecord) => {
    const launched = await waitFor(() => itsHost.take(), { what: "the VM to be fetched" });
    await itsHost.run(launched);
    await other.redis.hset(other.keys.record(id), "attestation", JSON.stringify(attestation));
    return launched;
  };
  const first = await launchWith(SNP);
  await itsHost.fail(first, { again: true });
  expect((await policy(id, {}, other)).json()).toMatchObject({
    code: "policy_unavailable",
    detail: expect.stringMatching(/not been launched yet/),
  });
  await itsHost.complete(await launchWith({ ...SNP, epoch: 2 }));
  expect((await policy(id, {}, other)).statusCode).toBe(200);
});

test("other wishes, strangers and unknown VMs", async () => {
  const id = await running(SNP);
  expect((await policy(id, { accept: "application/json" })).statusCode).toBe(406);
  expect((await policy(id, { accept: "application/rim+cbor, application/rim+cose" })).statusCode).toBe(200);
  expect((await policy(randomUUID())).json()).toMatchObject({ code: "vm_not_found" });
  const stranger: Principal = { owner: "somebody-else", role: "submitter", via: "token" };
  await expect(attestationPolicy(world.deps, stranger, id)).rejects.toMatchObject({ code: "vm_not_found" });
});

test("with a key of the operator's the API signs, in the shape that is asked for", async () => {
  const dir = mkdtempSync(join(tmpdir(), "drover-signer-"));
  try {
    const path = join(dir, "key.pem");
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "secp384r1" });
    writeFileSync(path, privateKey.export({ type: "sec1", format: "pem" }));
    chmodSync(path, 0o600);
    const env = { MANAGER_CORIM_SIGNING_KEY: path, DROVER_CORIM_SIGNER: "Example Ltd.", DROVER_CORIM_COMPAT: "cocos" };
    const policySigner = await openPolicySigner({ config: loadConfig({ HOME: dir, ...env }).config, logger });
    await using signing = await openHttpWorld({ policySigner, env });
    await using itsHost = openTestHost(signing);
    const { id } = (await signing.app.inject({ method: "POST", url: "/v1/vms", payload: {} })).json();
    await itsHost.run(await itsHost.take());
    await signing.redis.hset(signing.keys.record(id), "attestation", JSON.stringify(SNP));
    const reply = await policy(id, {}, signing);
    expect([reply.statusCode, reply.headers["content-type"]]).toEqual([200, "application/rim+cose"]);
    const parts = untag(read(reply.rawPayload), 18);
    const [header, payload] = [0, 2].map((index) => read(Buffer.from(hex(at(parts, index)), "hex")));
    expect(at(header, 1)).toBe(-35);
    expect(String(at(payload, 0))).toMatch(/^snp-corim-/);
    expect(hex(at(payload, 1, 0)).slice(0, 6)).toBe("d901fa");
    expect((await policy(id, { accept: "application/rim+cbor" }, signing)).statusCode).toBe(406);
    const { paths } = (await signing.app.inject("/openapi.json")).json();
    expect(paths["/v1/vms/{id}/attestation-policy"].get.responses["200"].content).toHaveProperty([
      "application/rim+cose",
    ]);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
