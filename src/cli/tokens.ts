import { hostname, userInfo } from "node:os";
import { TOKEN_LABEL_MAX_CHARS } from "../contract/limits.ts";
import { Owner, ownerOfSubject } from "../contract/owner.ts";
import type { Role } from "../contract/role.ts";
import { auditLog } from "../producer/access/audit.ts";
import { type NewToken, type StoredToken, TokenStore } from "../queue/token-store.ts";
import { createLogger } from "../runtime/logger.ts";
import { readSubject } from "../runtime/tls/subject-text.ts";
import { askRedis } from "./ask-redis.ts";
import { CliError, UsageError } from "./cli-error.ts";
import { EXIT } from "./exit-codes.ts";
import { formatSpan } from "./render/age.ts";
import { wrap } from "./render/text-width.ts";
import { renderTokenTable } from "./render/token-table.ts";
import { jsonDocument } from "./session.ts";
import type { CliContext } from "./terminal.ts";

export interface AddOptions {
  readonly owner: string | undefined;
  readonly role: Role;
  readonly expiresMs: number | undefined;
  readonly label: string;
  /** A subject, or the file of a certificate. */
  readonly certificate: string | undefined;
  readonly json: boolean;
}

/** `drover token add`. The token goes to standard output and nothing else does, so that it can be piped. */
export async function addToken(context: CliContext, options: AddOptions): Promise<void> {
  const { certificate, json, role, expiresMs } = options;
  const subject = certificate === undefined ? undefined : await readSubject(certificate);
  const wanted: NewToken = {
    owner: ownerFrom(options.owner, subject),
    role,
    label: labelFrom(options.label),
    createdBy: operatorName(),
    expiresAtMs: expiresMs === undefined ? undefined : context.now() + expiresMs,
  };
  const { token, text, isFirst } = await askRedis(context, async (redis, keys) => {
    const store = new TokenStore({ redis, keys });
    const none = !(await store.any());
    const made =
      subject === undefined
        ? await store.add(wanted)
        : { token: await store.addSubject(subject, wanted), text: undefined };
    return { ...made, isFirst: none };
  });
  if (json)
    await context.terminal.out(jsonDocument({ ...shown(token), ...(text === undefined ? {} : { token: text }) }));
  else if (text !== undefined) await context.terminal.out(`${text}\n`);
  tell(context, addedText(token, expiresMs));
  if (isFirst) tell(context, firstText(role));
  noteChange(context, { action: "token.add", target: token.id, outcome: "ok" });
}

/** `drover token ls`. */
export async function listTokens(context: CliContext, { json }: { readonly json: boolean }): Promise<void> {
  const tokens = await askRedis(context, (redis, keys) => new TokenStore({ redis, keys }).list());
  const { terminal } = context;
  if (json) {
    const items = tokens.map((token) => ({ ...shown(token), lastUsedAt: time(token.lastUsedAtMs) }));
    return terminal.out(jsonDocument({ items }));
  }
  if (tokens.length === 0) return terminal.err("There is no token. Make one: drover token add --help\n");
  const screen = { columns: terminal.columns, paint: terminal.paint, nowMs: context.now() };
  return terminal.out(`${renderTokenTable(tokens, screen).join("\n")}\n`);
}

/** `drover token rm`: all that are known, then an error for those that are not. */
export async function removeTokens(
  context: CliContext,
  ids: readonly string[],
  { json }: { readonly json: boolean },
): Promise<void> {
  const outcomes = await askRedis(context, async (redis, keys) => {
    const store = new TokenStore({ redis, keys });
    const removed = await Promise.all(ids.map(async (id) => ({ id, token: await store.remove(id) })));
    return { removed, left: await store.any() };
  });
  const known = outcomes.removed.flatMap(({ token }) => token ?? []);
  for (const { id, token } of outcomes.removed)
    noteChange(context, {
      action: "token.remove",
      target: id,
      outcome: token === undefined ? "token_not_found" : "ok",
    });
  if (json) await context.terminal.out(jsonDocument({ items: known.map(shown) }));
  else await context.terminal.out(known.map(({ id, owner }) => `${id}  removed (${owner})\n`).join(""));
  if (known.length > 0 && !outcomes.left)
    tell(
      context,
      "No token is left. An API that runs goes on to ask for one; after a restart it does not on loopback.",
    );
  const unknown = outcomes.removed.flatMap(({ id, token }) => (token === undefined ? [id] : []));
  if (unknown.length === 0) return;
  throw new CliError(`there is no token ${unknown.map((id) => JSON.stringify(id)).join(", ")}`, {
    code: "token_not_found",
    exitCode: EXIT.notFound,
    hint: "`drover token ls` lists all.",
  });
}

/** The line of the audit, for whoever collects what commands write; a person at a screen has seen the change. */
function noteChange(
  { terminal }: CliContext,
  change: { readonly action: string; readonly target: string; readonly outcome: string },
): void {
  if (terminal.errIsScreen) return;
  const logger = createLogger({ level: "info", name: "token", destination: { write: (line) => terminal.err(line) } });
  const principal = { owner: operatorName(), role: "operator", via: "local" } as const;
  auditLog(logger).note({ ...change, principal, remote: hostname(), protocol: "cli" });
}

/** Who runs this, as the machine knows it. */
function operatorName(): string {
  return `${userName()}@${hostname()}`;
}

/** In a container the number of the user may have no name. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.() ?? "unknown"}`;
  }
}

function ownerFrom(given: string | undefined, subject: string | undefined): string {
  const owner = given ?? (subject === undefined ? undefined : ownerOfSubject(subject));
  if (owner === undefined) {
    throw new UsageError("whose token it is to be is not known", {
      hint: 'Name the owner, like --owner physics, or a certificate, like --certificate "CN=ops".',
    });
  }
  const parsed = Owner.safeParse(owner);
  if (parsed.success) return parsed.data;
  throw new UsageError(`--owner ${JSON.stringify(owner)} ${parsed.error.issues[0]?.message ?? ""}`);
}

function labelFrom(text: string): string {
  if (text.length <= TOKEN_LABEL_MAX_CHARS && !/\p{Cc}/u.test(text)) return text;
  throw new UsageError(`--label must be at most ${TOKEN_LABEL_MAX_CHARS} characters of one line`);
}

/** With the first token the local operator ends; whoever made it for somebody else would otherwise find out by a 401. */
function firstText(role: Role): string {
  const more = role === "operator" ? "" : " Make an operator's as well: drover token add --owner ops --role operator";
  return `From now on everybody has to show a token or a certificate, also on this machine.${more}`;
}

function addedText({ id, role, owner, subject }: StoredToken, expiresMs: number | undefined): string {
  const until = expiresMs === undefined ? "until it is removed" : `for ${formatSpan(expiresMs)}`;
  if (subject !== undefined)
    return `Clients with the certificate of ${subject} are ${role} for ${owner}, ${until} (drover token rm ${id}).`;
  return `Token ${id}: ${role} for ${owner}, ${until}. It is shown this once only; keep it in a file of mode 0600, for DROVER_TOKEN_FILE.`;
}

/** What is known of a token, for programs. */
function shown(token: StoredToken) {
  const { id, role, owner, label, createdBy, subject } = token;
  return {
    id,
    owner,
    role,
    label,
    certificate: subject ?? null,
    createdAt: time(token.createdAtMs),
    createdBy,
    expiresAt: time(token.expiresAtMs),
  };
}

function time(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}

function tell({ terminal }: CliContext, text: string): void {
  terminal.err(`${wrap(text, terminal.columns).join("\n")}\n`);
}
