import type { FastifyReply, FastifyRequest } from "fastify";

/** A browser takes the first one over TLS only, from this very host, for all of it; nobody else can plant it. */
const SECURE_NAME = "__Host-drover";
const PLAIN_NAME = "drover";

/** Value of the session cookie that a browser sent. Over TLS only the one that nobody else can have set counts. */
export function readSessionCookie({ headers, protocol }: FastifyRequest): string | undefined {
  const values = cookieValues(headers.cookie ?? "", SECURE_NAME);
  if (values.length === 0 && protocol !== "https") values.push(...cookieValues(headers.cookie ?? "", PLAIN_NAME));
  return values.length === 1 ? values[0] : undefined; // of two, one was planted
}

function cookieValues(header: string, name: string): string[] {
  return header
    .split(";")
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`))
    .map((pair) => pair.slice(name.length + 1));
}

/**
 * Hands the browser its session. `Lax` and not `Strict`: a link in a mail to a page of drover should find who follows
 * it logged in. What changes something never relies on the cookie alone (`same-origin.ts`).
 */
export function setSessionCookie(request: FastifyRequest, reply: FastifyReply, value: string, lifeMs: number): void {
  const secure = isOverTls(request);
  const attributes = ["Path=/", "HttpOnly", "SameSite=Lax", `Max-Age=${Math.floor(lifeMs / 1000)}`];
  if (secure) attributes.push("Secure");
  reply.header("set-cookie", `${secure ? SECURE_NAME : PLAIN_NAME}=${value}; ${attributes.join("; ")}`);
}

/** Takes it back, under both names. */
export function clearSessionCookie(reply: FastifyReply): void {
  const attributes = "Path=/; HttpOnly; SameSite=Lax; Max-Age=0";
  reply.header("set-cookie", [`${SECURE_NAME}=; ${attributes}; Secure`, `${PLAIN_NAME}=; ${attributes}`]);
}

/** Whether the browser speaks TLS: to this server, or to a proxy before it, which only its own Origin tells. */
function isOverTls({ protocol, headers }: FastifyRequest): boolean {
  return protocol === "https" || headers.origin?.startsWith("https:") === true;
}
