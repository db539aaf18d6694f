import { readFileSync } from "node:fs";
import type { FastifyInstance } from "fastify";
import { DroverError } from "../../contract/errors.ts";
import type { ApiDeps } from "../api-deps.ts";
import { CONSOLE_PATH, readConsoleFiles } from "./console-files.ts";
import { FLEET_PATHS, fleetPage } from "./fleet-page.ts";
import { loginRoutes } from "./login-routes.ts";
import { STYLE_PATH } from "./page.ts";
import { visitorOf } from "./visitor.ts";

const STYLE_KEPT_S = 300;
/** The path says which version it is, so that a browser need never ask again. */
const FILES_KEPT_S = 365 * 24 * 3_600;

/** drover's own pages: the fleet, login and logout, and how they look. */
export async function pageRoutes(app: FastifyInstance, { deps }: { readonly deps: ApiDeps }): Promise<void> {
  const style = readFileSync(new URL("drover.css", import.meta.url));
  app.get(STYLE_PATH, { schema: { hide: true }, config: { access: "public" } }, async (_request, reply) =>
    reply.type("text/css; charset=utf-8").header("cache-control", `public, max-age=${STYLE_KEPT_S}`).send(style),
  );

  const console = readConsoleFiles();
  const page = fleetPage(console);
  for (const path of FLEET_PATHS) {
    app.get(path, { schema: { hide: true }, config: { access: "viewer" } }, async (request, reply) =>
      page.send(reply, visitorOf(request)),
    );
  }
  app.get<{ Params: { readonly "*": string } }>(
    `${CONSOLE_PATH}/*`,
    { schema: { hide: true }, config: { access: "public" } },
    async (request, reply) => {
      const path = `${CONSOLE_PATH}/${request.params["*"]}`;
      const file = path.startsWith(`${console.base}/`)
        ? console.files.get(path.slice(console.base.length + 1))
        : undefined;
      if (file === undefined)
        throw new DroverError("not_found", "this file belongs to another version of drover; load the page again");
      return reply
        .type(file.contentType)
        .header("cache-control", `public, max-age=${FILES_KEPT_S}, immutable`)
        .send(file.bytes);
    },
  );
  await app.register(loginRoutes, { deps });
}
