import formbody from "@fastify/formbody";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { DroverError } from "../../contract/errors.ts";
import { requestCredentials } from "../access/request-credentials.ts";
import type { ApiDeps } from "../api-deps.ts";
import { type Principal, setPrincipal } from "../principal.ts";
import { loginPage } from "./login-page.ts";
import { nextPath } from "./next-path.ts";
import { sendPage } from "./page.ts";
import { assertFormToken, assertSameOrigin } from "./same-origin.ts";
import { clearSessionCookie, readSessionCookie, setSessionCookie } from "./session-cookie.ts";

/** A token and a path; both are short. */
const FORM_MAX_BYTES = 8 * 1024;
const SEE_OTHER = 303;

const LoginQuery = z.object({ next: z.string().optional().catch(undefined) });
const LoginForm = z.object({ token: z.string().trim().min(1), next: z.string().optional() });
const LogoutForm = z.object({ formToken: z.string() });

/** Login with a token, and logout. Forms come here and nothing else. */
export async function loginRoutes(app: FastifyInstance, { deps }: { readonly deps: ApiDeps }): Promise<void> {
  const { authenticator, sessions, gate, config } = deps;
  const open = { schema: { hide: true }, config: { access: "public" } } as const;
  app.removeAllContentTypeParsers();
  await app.register(formbody, { bodyLimit: FORM_MAX_BYTES });

  app.get("/login", open, async (request, reply) => {
    const next = nextPath(LoginQuery.parse(request.query).next);
    return (await isKnown(request)) ? reply.redirect(next, SEE_OTHER) : sendPage(reply, 200, loginPage({ next }));
  });

  app.post("/login", { ...open, config: { access: "public", audit: "login" } }, async (request, reply) => {
    assertSameOrigin(request); // else a page of others could log its reader in as somebody else
    const form = LoginForm.safeParse(request.body);
    if (!form.success) throw new DroverError("invalid_request", "a login has the fields token and next, once each");
    const next = nextPath(form.data.next);
    const principal = await authenticator
      .identify({ protocol: "http", bearer: form.data.token, remote: request.ip })
      .catch((error: unknown) => refuse(error, { reply, next }));
    if (principal === undefined) return reply;
    setPrincipal(request, principal);
    await logIn(request, reply, principal);
    return reply.redirect(next, SEE_OTHER);
  });

  app.post("/logout", { ...open, config: { access: "public", audit: "logout" } }, async (request, reply) => {
    assertSameOrigin(request);
    const session = readSessionCookie(request);
    if (session !== undefined) {
      assertFormToken(session, LogoutForm.safeParse(request.body).data?.formToken ?? "");
      const ended = await gate.run(() => sessions.find(session));
      if (ended !== undefined) setPrincipal(request, { ...ended, via: "session" });
      await gate.run(() => sessions.end(session));
    }
    clearSessionCookie(reply);
    return reply.redirect("/login", SEE_OTHER);
  });

  /** Whether the login page has nothing to do for this visitor. */
  async function isKnown(request: FastifyRequest): Promise<boolean> {
    try {
      await authenticator.identify(requestCredentials(request));
      return true;
    } catch (error) {
      if (error instanceof DroverError && error.code === "unauthenticated") return false;
      throw error;
    }
  }

  /** The session before, if any, ends: nobody who planted its cookie comes along. */
  async function logIn(request: FastifyRequest, reply: FastifyReply, principal: Principal): Promise<void> {
    const { owner, role, tokenId } = principal;
    if (tokenId === undefined) throw new DroverError("unauthenticated", "only a token can log in");
    const former = readSessionCookie(request);
    const { sessionMs } = config.auth;
    const expiresAtMs = Date.now() + sessionMs;
    const value = await gate.run(async () => {
      if (former !== undefined) await sessions.end(former);
      return sessions.begin({ tokenId, owner, role, expiresAtMs });
    });
    setSessionCookie(request, reply, value, sessionMs);
  }
}

/** Shows the page again for what its visitor can mend; other errors pass. */
function refuse(error: unknown, { reply, next }: { readonly reply: FastifyReply; readonly next: string }): undefined {
  if (!(error instanceof DroverError)) throw error;
  if (error.code === "unauthenticated") {
    const refusal = "This token is not known, has expired or was removed.";
    sendPage(reply, 401, loginPage({ next, refusal }));
    return undefined;
  }
  throw error;
}
