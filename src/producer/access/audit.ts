import type { Principal } from "../principal.ts";

/** One change that somebody asked for: who, what, from where, and what came of it. */
export interface AuditEntry {
  readonly principal: Principal | undefined;
  /** `vm.submit`, `vm.remove`, `host.forget`, `token.add`, `login`, ... */
  readonly action: string;
  readonly target: string;
  readonly remote: string;
  readonly protocol: "http" | "grpc" | "cli";
  /** `ok`, or the code of the error. */
  readonly outcome: string;
}

export interface Audit {
  note(entry: AuditEntry): void;
}
