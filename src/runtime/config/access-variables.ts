import { bool, int, list, matching, timeout } from "./value-types.ts";
import { variable } from "./variable.ts";

/** Who may reach the API. */
export const ACCESS_VARIABLES = {
  allowedHosts: variable({
    name: "DROVER_ALLOWED_HOSTS",
    type: list(
      matching(/^[A-Za-z0-9._-]{1,253}$|^\[?[0-9A-Fa-f:.]{2,45}\]?$/, "a host name or an IP address without a port"),
    ),
    default: "",
    emptyMeans: "loopback and the listener's own",
    group: "access",
    doc: "Further names that the Host header of a request may have.",
  }),
  allowedOrigins: variable({
    name: "DROVER_ALLOWED_ORIGINS",
    type: list(matching(/^https?:\/\/[^\s/?#,@]+$/, 'an origin, for example "https://ops.example.org"')),
    default: "",
    emptyMeans: "only drover's own pages",
    group: "access",
    doc: "Web origins that may call the API from a browser.",
  }),
  insecure: variable({
    name: "DROVER_INSECURE",
    type: bool,
    default: "false",
    group: "access",
    doc: "Whether listening beyond loopback without authentication is allowed.",
  }),
};

/** How callers prove who they are. */
export const AUTH_VARIABLES = {
  required: variable({
    name: "DROVER_AUTH_REQUIRED",
    type: bool,
    default: "false",
    group: "access",
    doc: "Whether a token or a certificate is asked of everybody, also on loopback while no token exists; set it behind a proxy.",
  }),
  sessionMs: variable({
    name: "DROVER_SESSION",
    type: timeout,
    default: "12h",
    group: "access",
    doc: "How long a login to the pages lasts.",
  }),
  rateLimit: variable({
    name: "DROVER_RATE_LIMIT",
    type: int(0),
    default: "6000",
    group: "access",
    doc: "Requests per minute of one caller, by HTTP and gRPC together; 0 means no limit. The local operator has none.",
  }),
};
