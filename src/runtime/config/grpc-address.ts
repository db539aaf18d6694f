import type { FieldProblem } from "../../contract/errors.ts";
import type { Env, EnvReader } from "./env-reader.ts";
import { GRPC_VARIABLES } from "./listener-variables.ts";
import { listenPort } from "./value-types.ts";
import { ValueRefused, type ValueType, variable } from "./variable.ts";

interface ListenAddress {
  /** Empty: the listener's default. */
  readonly host: string;
  readonly port: string;
}

/** `host:port`, with or without a scheme in front. */
const ADDRESS = /^(?:[a-z][a-z0-9+.-]*:\/\/)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*):(\d{1,5})\/?$/;

const listenAddress: ValueType<ListenAddress | undefined> = {
  allowed: 'host:port, for example "localhost:7001"',
  parse(text) {
    if (text === "") return undefined;
    const [, host, port] = ADDRESS.exec(text) ?? [];
    if (host === undefined || port === undefined) throw new ValueRefused();
    listenPort.parse(port);
    return { host: host.replace(/^\[|\]$/g, ""), port };
  },
};

/** The address of the gRPC listener in one variable, as the start examples of the Cocos manager set it. */
export const GRPC_ADDRESS_VARIABLES = {
  listenAddress: variable({
    name: "MANAGER_GRPC_URL",
    type: listenAddress,
    default: "",
    emptyMeans: "MANAGER_GRPC_HOST and MANAGER_GRPC_PORT",
    group: "grpc",
    doc: "Host and port to listen on, where MANAGER_GRPC_HOST and MANAGER_GRPC_PORT are both unset; for cocos-cli the same name is the address to call.",
  }),
};

const { host, port } = GRPC_VARIABLES;

/** Reads the address and lets it stand for host and port where neither is set. */
export function readGrpcAddress(reader: EnvReader): void {
  const { listenAddress: variable } = GRPC_ADDRESS_VARIABLES;
  const address = reader.read(variable);
  if (address === undefined || reader.isSet(host) || reader.isSet(port)) return;
  if (address.host !== "") reader.standIn(host, { text: address.host, setAs: variable.name });
  reader.standIn(port, { text: address.port, setAs: variable.name });
}

/** A warning where the address is set and something else wins over it. */
export function grpcAddressWarnings(env: Env): readonly FieldProblem[] {
  const { name } = GRPC_ADDRESS_VARIABLES.listenAddress;
  const winner = [host.name, port.name].find((each) => (env[each] ?? "") !== "");
  if ((env[name] ?? "") === "" || winner === undefined) return [];
  return [
    {
      field: name,
      message: `Has no effect here, because ${winner} is set; cocos-cli reads it as the address to call.`,
    },
  ];
}
