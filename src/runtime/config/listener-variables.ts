import { int, listenPort, matching, pathOrPem, serverTimeout } from "./value-types.ts";
import { variable } from "./variable.ts";

const hostName = matching(/^[A-Za-z0-9.:_-]{1,253}$/, "a host name or an IP address");

/**
 * The variables of one of the two listeners. In Cocos an unset host is `localhost` and an unset gRPC port a random one;
 * its README documents 7001, and drover has that. An unset or empty host is loopback.
 */
const listenerVariables = (prefix: "MANAGER_HTTP" | "MANAGER_GRPC", group: "http" | "grpc", defaultPort: string) => ({
  host: variable({
    name: `${prefix}_HOST`,
    type: hostName,
    default: "127.0.0.1",
    group,
    doc: "Address to listen on; beyond loopback needs authentication or DROVER_INSECURE.",
  }),
  port: variable({
    name: `${prefix}_PORT`,
    type: listenPort,
    default: defaultPort,
    group,
    doc: "Port to listen on; 0 takes any free one.",
  }),
  serverCert: variable({
    name: `${prefix}_SERVER_CERT`,
    type: pathOrPem,
    default: "",
    emptyMeans: "no TLS",
    group,
    doc: "The server's certificate, as a path or as PEM text.",
  }),
  serverKey: variable({
    name: `${prefix}_SERVER_KEY`,
    type: pathOrPem,
    default: "",
    emptyMeans: "no TLS",
    group,
    doc: "The private key of the server's certificate, as a path or as PEM text.",
    secret: true,
  }),
  serverCaCerts: variable({
    name: `${prefix}_SERVER_CA_CERTS`,
    type: pathOrPem,
    default: "",
    group,
    doc: "Certificates of the server certificate's CA, as a path or as PEM text; those between it and the root are sent to clients.",
  }),
  clientCaCerts: variable({
    name: `${prefix}_CLIENT_CA_CERTS`,
    type: pathOrPem,
    default: "",
    emptyMeans: "clients need no certificate",
    group,
    doc: "Certificates of the CA that signs client certificates, as a path or as PEM text; only clients with one of it are let in.",
  }),
  readTimeoutMs: variable({
    name: `${prefix}_SERVER_READ_TIMEOUT`,
    type: serverTimeout,
    default: "15s",
    group,
    doc: "How long reading a request may take; 0 or less means no limit.",
  }),
  writeTimeoutMs: variable({
    name: `${prefix}_SERVER_WRITE_TIMEOUT`,
    type: serverTimeout,
    default: "15s",
    group,
    doc: "How long writing an answer may take; 0 or less means no limit.",
  }),
  readHeaderTimeoutMs: variable({
    name: `${prefix}_SERVER_READ_HEADER_TIMEOUT`,
    type: serverTimeout,
    default: "5s",
    group,
    doc: "How long reading the headers of a request may take; 0 or less means no limit.",
  }),
  idleTimeoutMs: variable({
    name: `${prefix}_SERVER_IDLE_TIMEOUT`,
    type: serverTimeout,
    default: "60s",
    group,
    doc: "How long an idle connection is kept; 0 or less means no limit.",
  }),
  maxHeaderBytes: variable({
    name: `${prefix}_SERVER_MAX_HEADER_BYTES`,
    type: int(0),
    default: "1048576",
    group,
    doc: "How large the headers of a request may be, in bytes.",
  }),
});

export const HTTP_VARIABLES = listenerVariables("MANAGER_HTTP", "http", "7003");
export const GRPC_VARIABLES = listenerVariables("MANAGER_GRPC", "grpc", "7001");
