import { readFileSync } from "node:fs";
import type { ServiceDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { describe, expect, test } from "vitest";
import { GRPC_RULES } from "../../../src/producer/grpc/grpc-rules.ts";
import { healthService, managerService, PROTOS } from "../../../src/producer/grpc/manager-service.ts";
import { COCOS_PROTOS } from "../../helpers/cocos-client.ts";

interface Golden {
  readonly message: string;
  readonly name: string;
  readonly json: Readonly<Record<string, string | number>>;
  readonly hex: string;
}

interface Codec {
  serialize(value: unknown): Buffer;
  deserialize(bytes: Buffer): Readonly<Record<string, unknown>>;
}

const goldens: readonly Golden[] = JSON.parse(readFileSync("test/fixtures/goldens/grpc-wire.json", "utf8"));

/** JSON has bytes as base64; the golden file writes those of these fields so. */
const BYTES = ["agentCvmServerCaCert", "agentCvmClientKey", "agentCvmClientCert", "info"];
const valuesOf = (json: Golden["json"]) =>
  Object.fromEntries(
    Object.entries(json).map(([name, value]) => [
      name,
      BYTES.includes(name) ? Buffer.from(String(value), "base64") : value,
    ]),
  );

describe.each([
  ["drover's definition", PROTOS],
  ["the test's own", COCOS_PROTOS],
])("by %s", (_whose, protos) => {
  test.each(goldens)("$message ($name) has Cocos's bytes, both ways", ({ message, json, hex }) => {
    const codec = protos[message] as unknown as Codec;
    expect(codec.serialize(valuesOf(json)).toString("hex")).toBe(hex);
    expect(codec.deserialize(Buffer.from(hex, "hex"))).toMatchObject(valuesOf(json));
  });
});

test("every message of Cocos's manager has a golden", () => {
  const messages = Object.keys(COCOS_PROTOS).filter((name) => /^manager\.(Create|CVM|Attestation\w+Res)/.test(name));
  expect(new Set(goldens.map(({ message }) => message))).toEqual(new Set(messages));
});

test("paths and kinds of all methods are those of a Cocos client", () => {
  const shape = (service: ServiceDefinition) =>
    Object.values(service).map(({ path, requestStream, responseStream }) => ({ path, requestStream, responseStream }));
  expect(shape(managerService)).toEqual(shape(COCOS_PROTOS["manager.ManagerService"] as ServiceDefinition));
});

test("the health service is the public one, field for field", () => {
  const published = loadSync("node_modules/grpc-health-check/proto/health/v1/health.proto", { enums: String });
  const codec = (protos: Readonly<Record<string, unknown>>, name: string) => protos[`grpc.health.v1.${name}`] as Codec;
  for (const status of ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"]) {
    const bytes = codec(published, "HealthCheckResponse").serialize({ status });
    expect(codec(PROTOS, "HealthCheckResponse").serialize({ status })).toEqual(bytes);
  }
  const request = { service: "manager" };
  expect(codec(PROTOS, "HealthCheckRequest").serialize(request)).toEqual(
    codec(published, "HealthCheckRequest").serialize(request),
  );
});

test("every method has an access rule, and every rule a method", () => {
  const reflection = ["v1", "v1alpha"].map(
    (version) => `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
  );
  const paths = [managerService, healthService].flatMap((service) => Object.values(service).map(({ path }) => path));
  expect(Object.keys(GRPC_RULES).sort()).toEqual([...paths, ...reflection].sort());
});
