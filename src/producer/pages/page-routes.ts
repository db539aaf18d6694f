import { readFileSync } from "node:fs";
import type { FastifyInstance } from "fastify";
import type { ApiDeps } from "../api-deps.ts";
import { homePage } from "./home-page.ts";
import { loginRoutes } from "./login-routes.ts";
import { STYLE_PATH, sendPage } from "./page.ts";
import { visitorOf } from "./visitor.ts";

const STYLE_KEPT_S = 300;

/** drover's own pages: the first one, login and logout, and how they look. */
export async function pageRoutes(app: FastifyInstance, { deps }: { readonly deps: ApiDeps }): Promise<void> {
  const style = readFileSync(new URL("drover.css", import.meta.url));
  app.get(STYLE_PATH, { schema: { hide: true }, config: { access: "public" } }, async (_request, reply) =>
    reply.type("text/css; charset=utf-8").header("cache-control", `public, max-age=${STYLE_KEPT_S}`).send(style),
  );
  app.get("/", { schema: { hide: true }, config: { access: "viewer" } }, async (request, reply) =>
    sendPage(reply, 200, homePage(visitorOf(request))),
  );
  await app.register(loginRoutes, { deps });
}
