import { fileURLToPath } from "node:url";
import {
  type ChannelCredentials,
  type ClientUnaryCall,
  credentials,
  Metadata,
  makeGenericClientConstructor,
  type ServiceDefinition,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const PROTO = fileURLToPath(new URL("../fixtures/cocos-manager.proto", import.meta.url));
/** Every message of a Cocos client, for tests that look at bytes. */
export const COCOS_PROTOS = loadSync(PROTO, { defaults: true });
const service = COCOS_PROTOS["manager.ManagerService"] as ServiceDefinition;
const Client = makeGenericClientConstructor(service, "ManagerService");

export type ManagerMethod = "CreateVm" | "RemoveVm" | "CVMInfo" | "AttestationPolicy";
type Message = Readonly<Record<string, unknown>>;

export interface CallOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  readonly deadlineMs?: number;
}

/** How a call ended. */
export interface Ended {
  /** Name of the status: `OK`, `NOT_FOUND`, ... */
  readonly status: string;
  readonly text: string;
  /** Undefined unless the status is OK. */
  readonly message: Message;
  readonly headers: Readonly<Record<string, string>>;
  readonly trailers: Readonly<Record<string, string>>;
}

export interface OpenCall {
  cancel(): void;
  /** Metadata that the server has sent ahead of its answer. */
  readonly headers: Promise<Readonly<Record<string, string>>>;
  readonly ended: Promise<Ended>;
}

/** A client made of the test's own proto, which sends what a Cocos client sends. `using client = openCocosClient(...)`. */
export function openCocosClient(address: string, { channel }: { channel?: ChannelCredentials } = {}) {
  // Certificates of tests are made out to localhost, and the server tells its address.
  const options = channel === undefined ? {} : { "grpc.ssl_target_name_override": "localhost" };
  const client = new Client(address, channel ?? credentials.createInsecure(), options);
  const start = (
    method: ManagerMethod,
    request: Message,
    { metadata = {}, deadlineMs }: CallOptions = {},
  ): OpenCall => {
    const sent = new Metadata();
    for (const [name, value] of Object.entries(metadata)) sent.set(name, value);
    const definition = service[method];
    if (definition === undefined) throw new Error(`no method ${method}`);
    let headers: Readonly<Record<string, string>> = {};
    let call: ClientUnaryCall | undefined;
    let tell: (headers: Readonly<Record<string, string>>) => void = () => undefined;
    const told = new Promise<Readonly<Record<string, string>>>((resolve) => {
      tell = resolve;
    });
    const ended = new Promise<Ended>((resolve) => {
      let answer: Omit<Ended, "headers" | "trailers"> | undefined;
      let trailers: Readonly<Record<string, string>> | undefined;
      const settle = () => {
        if (answer !== undefined && trailers !== undefined) resolve({ ...answer, headers, trailers });
      };
      call = client.makeUnaryRequest(
        definition.path,
        definition.requestSerialize,
        definition.responseDeserialize,
        request,
        sent,
        deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs },
        (error: ServiceError | null, message?: Message) => {
          answer = {
            status: status[error?.code ?? status.OK] ?? "?",
            text: error?.details ?? "",
            message: message ?? {},
          };
          settle();
        },
      );
      call.on("metadata", (got: Metadata) => {
        headers = textsOf(got);
        tell(headers);
      });
      call.on("status", ({ metadata: got }: { metadata: Metadata }) => {
        trailers = textsOf(got);
        tell(headers);
        settle();
      });
    });
    return { cancel: () => call?.cancel(), headers: told, ended };
  };
  return {
    start,
    call: (method: ManagerMethod, request: Message = {}, options: CallOptions = {}) =>
      start(method, request, options).ended,
    [Symbol.dispose]: () => client.close(),
  };
}

export type CocosClient = ReturnType<typeof openCocosClient>;

function textsOf(metadata: Metadata): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(metadata.getMap()).map(([name, value]) => [name, String(value)]));
}
