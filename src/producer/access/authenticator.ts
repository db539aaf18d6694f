import type { Principal } from "../principal.ts";

/** What a caller shows of itself. */
export interface Credentials {
  readonly protocol: "http" | "grpc";
  /** The token of an `Authorization: Bearer` header or of gRPC's `authorization` metadata. */
  readonly bearer?: string | undefined;
  /** Value of the session cookie. */
  readonly session?: string | undefined;
  /** Subject of a client certificate that TLS has verified, as `CN=name,O=organisation`. */
  readonly certificateSubject?: string | undefined;
  /** Whether a proxy has passed the request on, as far as its headers tell: then `remote` says nothing of the caller. */
  readonly proxied?: boolean;
  /** Whether a guest made the connection, which reaches this machine's loopback through QEMU. Asked only where it matters. */
  readonly isGuest?: () => boolean;
  /** Address of the caller, without port. */
  readonly remote: string;
}

/** Finds out who calls. */
export interface Authenticator {
  /** Throws DroverError `unauthenticated`, `too_many_requests` or `redis_unavailable`. */
  identify(credentials: Credentials): Promise<Principal>;
}
