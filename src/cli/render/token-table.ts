import type { Role } from "../../contract/role.ts";
import { formatAge } from "./age.ts";
import type { Paint } from "./paint.ts";
import { type Cell, type Column, renderTable } from "./table.ts";

/** What a line of the table needs to know. */
interface TokenLine {
  readonly id: string;
  readonly owner: string;
  readonly role: Role;
  readonly label: string;
  /** Of a certificate; a token has none. */
  readonly subject?: string | undefined;
  readonly expiresAtMs?: number | undefined;
  readonly lastUsedAtMs: number | undefined;
}

const COLUMNS: readonly Column[] = [
  { title: "ID" },
  { title: "ROLE" },
  { title: "OWNER", shrinkTo: 12 },
  { title: "EXPIRES", align: "right" },
  { title: "USED", align: "right" },
  { title: "CERTIFICATE", shrinkTo: 14, optional: true },
  { title: "LABEL", shrinkTo: 10, optional: true },
];

/** Tokens and roles of certificates as a table. USED is how long ago, to the minute. */
export function renderTokenTable(
  tokens: readonly TokenLine[],
  screen: { readonly columns: number; readonly paint: Paint; readonly nowMs: number },
): readonly string[] {
  return renderTable(
    COLUMNS,
    tokens.map((token) => row(token, screen)),
    screen.columns,
  );
}

function row(token: TokenLine, { paint, nowMs }: { readonly paint: Paint; readonly nowMs: number }): readonly Cell[] {
  const { id, role, owner, subject, label, expiresAtMs, lastUsedAtMs } = token;
  const expired = expiresAtMs !== undefined && expiresAtMs <= nowMs;
  const expires = expiresAtMs === undefined ? "never" : expired ? "expired" : `in ${formatAge(expiresAtMs - nowMs)}`;
  return [
    { text: id },
    { text: role },
    { text: owner },
    { text: expires, ...(expired ? { paint: paint.red } : {}) },
    { text: lastUsedAtMs === undefined ? "never" : formatAge(nowMs - lastUsedAtMs) },
    { text: subject ?? "" },
    { text: label },
  ];
}
