import type { Logger } from "pino";
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
  /** Under which the log has more. */
  readonly requestId?: string;
}

export interface Audit {
  note(entry: AuditEntry): void;
}

const TARGET_MAX_CHARS = 100;

/**
 * One line of the log for each change, marked `audit: true`, at every log level. It holds names and ids only, nothing
 * of a request's body.
 */
export function auditLog(logger: Logger): Audit {
  const silent = logger.level === "silent"; // only tests are
  const lines = logger.child({ audit: true }, silent ? {} : { level: "info" });
  return {
    note({ principal, action, target, remote, protocol, outcome, requestId }) {
      lines.info(
        {
          owner: principal?.owner ?? null,
          role: principal?.role ?? null,
          via: principal?.via ?? null,
          tokenId: principal?.tokenId,
          action,
          target: target.slice(0, TARGET_MAX_CHARS),
          outcome,
          from: remote,
          protocol,
          requestId,
        },
        "audit",
      );
    },
  };
}
