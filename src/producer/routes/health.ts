import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { Problem } from "../../contract/vm-view.ts";
import type { ApiDeps } from "../api-deps.ts";
import { problemResponses } from "../problem-responses.ts";
import { REDIS_RETRY_AFTER_S } from "../redis-fault.ts";

/** Cocos's health document: these keys, in this order. */
const Health = z.strictObject({
  status: z.literal("pass"),
  version: z.string(),
  commit: z.string(),
  description: z.literal("manager service"),
  build_time: z.string(),
  instance_id: z.string(),
});

const Readiness = z.strictObject({
  status: z.enum(["ready", "not_ready"]),
  reasons: z.array(z.strictObject({ code: z.string(), message: z.string() })),
});
type Readiness = z.infer<typeof Readiness>;

/** `GET /health` says that the process lives and needs nothing else; `GET /ready` says whether it can serve. */
export const healthRoutes: FastifyPluginAsyncZod<{ readonly deps: ApiDeps }> = async (app, { deps }) => {
  const { build, instanceId, gate } = deps;
  const health: z.infer<typeof Health> = {
    status: "pass",
    version: build.version,
    commit: build.commit,
    description: "manager service",
    build_time: build.buildTime,
    instance_id: instanceId,
  };
  const healthLine = `${JSON.stringify(health)}\n`;

  app.get(
    "/health",
    {
      exposeHeadRoute: false, // as Cocos: GET only
      config: { access: "public" },
      schema: {
        operationId: "getHealth",
        summary: "Whether the process lives",
        description: "The document of the Cocos manager. Does not ask Redis.",
        tags: ["Health"],
        response: {
          200: { description: "It lives.", content: { "application/health+json": { schema: Health } } },
          ...problemResponses(),
        },
      },
    },
    async (_request, reply) =>
      reply
        .header("content-type", "application/health+json")
        .serializer(() => healthLine)
        .send(health),
  );

  app.get(
    "/ready",
    {
      config: { access: "public" },
      schema: {
        operationId: "getReadiness",
        summary: "Whether requests can be served",
        tags: ["Health"],
        response: {
          ...problemResponses(),
          200: Readiness.describe("Requests are served."),
          503: {
            description: "They are not, for these reasons; or this server is shutting down (a problem document).",
            content: { "application/json": { schema: Readiness }, "application/problem+json": { schema: Problem } },
          },
        },
      },
    },
    async (_request, reply) => {
      const reasons = await notReadyReasons(() => gate.check());
      if (reasons.length === 0) return reply.code(200).send({ status: "ready", reasons: [] });
      return reply.code(503).header("retry-after", String(REDIS_RETRY_AFTER_S)).send({ status: "not_ready", reasons });
    },
  );
};

async function notReadyReasons(checkRedis: () => Promise<void>): Promise<Readiness["reasons"]> {
  try {
    await checkRedis();
    return [];
  } catch {
    return [{ code: "redis_unavailable", message: "Redis does not answer" }];
  }
}
