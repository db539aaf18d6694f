import { fileURLToPath } from "node:url";
import type { MethodDefinition, ServiceDefinition } from "@grpc/grpc-js";
import { loadSync, type ServiceDefinition as ProtoService } from "@grpc/proto-loader";
import { z } from "zod";
import { isMessage } from "./wire-format.ts";

/** `manager.CreateReq` as it was on the wire: what was not sent is empty. */
export interface CreateReq {
  readonly agentLogLevel: string;
  readonly agentCvmServerCaCert: Buffer;
  readonly agentCvmClientKey: Buffer;
  readonly agentCvmClientCert: Buffer;
  readonly agentCvmServerUrl: string;
  readonly agentCvmCaUrl: string;
  readonly ttl: string;
  readonly agentCertsToken: string;
  readonly awsAccessKeyId: string;
  readonly awsSecretAccessKey: string;
  readonly awsEndpointUrl: string;
  readonly awsRegion: string;
  readonly aaKbsParams: string;
}

export interface CreateRes {
  /** Decimal digits: the protocol has a string here. */
  readonly forwardedPort: string;
  readonly cvmId: string;
}

export interface RemoveReq {
  readonly cvmId: string;
}

/** `google.protobuf.Empty`. */
export type RemoveRes = Readonly<Record<string, never>>;

export interface CvmInfoReq {
  readonly id: string;
}

export interface CvmInfoRes {
  readonly id: string;
  readonly ovmfVersion: string;
  readonly cpuNum: number;
  readonly cpuType: string;
  readonly kernelCmd: string;
  readonly eosVersion: string;
}

export interface AttestationPolicyReq {
  readonly id: string;
}

export interface AttestationPolicyRes {
  readonly info: Buffer;
  readonly id: string;
}

export interface ManagerService extends ServiceDefinition {
  readonly CreateVm: MethodDefinition<CreateReq, CreateRes>;
  readonly RemoveVm: MethodDefinition<RemoveReq, RemoveRes>;
  readonly CVMInfo: MethodDefinition<CvmInfoReq, CvmInfoRes>;
  readonly AttestationPolicy: MethodDefinition<AttestationPolicyReq, AttestationPolicyRes>;
}

export interface HealthRequest {
  readonly service: string;
}

export interface HealthResponse {
  readonly status: "SERVING" | "NOT_SERVING" | "SERVICE_UNKNOWN";
}

export interface HealthService extends ServiceDefinition {
  readonly Check: MethodDefinition<HealthRequest, HealthResponse>;
  readonly Watch: MethodDefinition<HealthRequest, HealthResponse>;
}

const PROTO_FILES = ["manager.proto", "health.proto"].map((name) => fileURLToPath(new URL(name, import.meta.url)));

/** Every service and message of the listener, to be described to callers who ask. */
export const PROTOS = loadSync(PROTO_FILES, { defaults: true, enums: String });

const MessageType = z.object({ field: z.array(z.object({ number: z.number() })) });

/** `manager.ManagerService`. */
export const managerService = strict("manager.ManagerService") as unknown as ManagerService; // one of the files has it

/** `grpc.health.v1.Health`. */
export const healthService = strict("grpc.health.v1.Health") as unknown as HealthService; // and the other one this

/** A service that takes no message which its decoder would have to mend. */
function strict(name: string): ServiceDefinition {
  const service = PROTOS[name] as ProtoService; // one of the files above has it
  return Object.fromEntries(
    Object.entries(service).map(([method, definition]) => {
      const fields = new Set(MessageType.parse(definition.requestType.type).field.map(({ number }) => number));
      const requestDeserialize = (bytes: Buffer) => {
        if (!isMessage(bytes, fields)) throw new Error("the bytes are no message of this type");
        return definition.requestDeserialize(bytes);
      };
      return [method, { ...definition, requestDeserialize }];
    }),
  );
}
