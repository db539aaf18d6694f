import { ACCESS_VARIABLES, AUTH_VARIABLES } from "./access-variables.ts";
import { ATTESTATION_VARIABLES } from "./attestation-variables.ts";
import { BATCH_VARIABLES } from "./batch-variables.ts";
import { HOST_LOST_VARIABLES, LEASE_VARIABLES, TEST_VARIABLES } from "./fleet-variables.ts";
import { GRPC_ADDRESS_VARIABLES } from "./grpc-address.ts";
import { GRPC_CALL_VARIABLES } from "./grpc-variables.ts";
import { HOST_VARIABLES, REDIS_VARIABLES } from "./host-variables.ts";
import { GRPC_VARIABLES, HTTP_VARIABLES } from "./listener-variables.ts";
import { MANAGER_VARIABLES } from "./manager-variables.ts";
import { PLACEMENT_VARIABLES } from "./placement-variables.ts";
import { OVMF_CODE_VARIABLES, OVMF_VARS_VARIABLES, QEMU_DEVICE_VARIABLES } from "./qemu-device-variables.ts";
import { QEMU_MACHINE_VARIABLES, QEMU_TEE_VARIABLES } from "./qemu-machine-variables.ts";
import { QEMU_PROCESS_VARIABLES } from "./qemu-process-variables.ts";
import {
  CLIENT_VARIABLES,
  KEEPING_VARIABLES,
  LAUNCH_VARIABLES,
  SECRETS_VARIABLES,
  STOP_VARIABLES,
} from "./service-variables.ts";
import { type AnyVariable, VARIABLE_GROUPS } from "./variable.ts";
import { WATCHING_VARIABLES } from "./watching-variables.ts";

/** Every variable that API and workers read, by section. `loadConfig` reads all of these and no other. */
export const VARIABLES = {
  manager: MANAGER_VARIABLES,
  http: HTTP_VARIABLES,
  grpcAddress: GRPC_ADDRESS_VARIABLES,
  grpc: GRPC_VARIABLES,
  grpcCalls: GRPC_CALL_VARIABLES,
  machine: QEMU_MACHINE_VARIABLES,
  ovmfCode: OVMF_CODE_VARIABLES,
  ovmfVars: OVMF_VARS_VARIABLES,
  devices: QEMU_DEVICE_VARIABLES,
  tee: QEMU_TEE_VARIABLES,
  redis: REDIS_VARIABLES,
  host: HOST_VARIABLES,
  qemuProcess: QEMU_PROCESS_VARIABLES,
  secrets: SECRETS_VARIABLES,
  launch: LAUNCH_VARIABLES,
  stop: STOP_VARIABLES,
  keeping: KEEPING_VARIABLES,
  lease: LEASE_VARIABLES,
  hostLost: HOST_LOST_VARIABLES,
  placement: PLACEMENT_VARIABLES,
  batches: BATCH_VARIABLES,
  watching: WATCHING_VARIABLES,
  access: ACCESS_VARIABLES,
  auth: AUTH_VARIABLES,
  attestation: ATTESTATION_VARIABLES,
  test: TEST_VARIABLES,
} as const;

const GROUP_ORDER = Object.keys(VARIABLE_GROUPS);

/** All of them in the order of the docs: by group, then as declared. */
export const SERVER_VARIABLES: readonly AnyVariable[] = Object.values(VARIABLES)
  .flatMap((section): readonly AnyVariable[] => Object.values(section))
  .sort((a, b) => GROUP_ORDER.indexOf(a.group) - GROUP_ORDER.indexOf(b.group));

/** With those that only the client commands read. */
export const ALL_VARIABLES: readonly AnyVariable[] = [...SERVER_VARIABLES, ...Object.values(CLIENT_VARIABLES)];
