import { randomUUID } from "node:crypto";
import fastifySwaggerUi from "@fastify/swagger-ui";
import { type FastifyBaseLogger, type FastifyInstance, fastify, LogController } from "fastify";
import { serializerCompiler, type ZodTypeProvider } from "fastify-type-provider-zod";
import { REQUEST_MAX_BYTES } from "../contract/limits.ts";
import { auditHook } from "./access/audit-hook.ts";
import { rateHeaders } from "./access/rate-headers.ts";
import { accessRules } from "./access/rules.ts";
import type { ApiDeps } from "./api-deps.ts";
import { boardPages } from "./board.ts";
import { closingReply } from "./closing-reply.ts";
import { errorReply, replyWithProblem } from "./error-reply.ts";
import { httpServerFactory, refuseConnection } from "./http-server.ts";
import { jsonBody } from "./json-body.ts";
import { openapi } from "./openapi.ts";
import { pageRoutes } from "./pages/page-routes.ts";
import { sameOriginHook } from "./pages/same-origin.ts";
import { principalHook } from "./principal.ts";
import { requestLog } from "./request-log.ts";
import { requestMetrics } from "./request-metrics.ts";
import { originHook } from "./request-origin.ts";
import { requestTrace } from "./request-trace.ts";
import { attestationPolicyRoute } from "./routes/attestation-policy.ts";
import { batchResultsRoute } from "./routes/batch-results.ts";
import { batchRoutes } from "./routes/batches.ts";
import { consoleRoute } from "./routes/console.ts";
import { eventsRoute } from "./routes/events.ts";
import { failureRoutes } from "./routes/failures.ts";
import { healthRoutes } from "./routes/health.ts";
import { hostWishRoutes } from "./routes/host-wishes.ts";
import { hostRoutes } from "./routes/hosts.ts";
import { metricsRoute } from "./routes/metrics.ts";
import { submitRoute } from "./routes/submit.ts";
import { submitBatchRoute } from "./routes/submit-batch.ts";
import { vmRoutes } from "./routes/vms.ts";
import { securityHeaders } from "./security-headers.ts";
import { trackConnections } from "./unused-connections.ts";
import { validatorCompiler } from "./validation.ts";

/** The HTTP API without a port. Closing it ends open streams and waits first, so that it closes soon. */
export async function buildApp(deps: ApiDeps): Promise<FastifyInstance> {
  const { config } = deps;
  const loggerInstance: FastifyBaseLogger = deps.logger;
  const app = fastify({
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true }), // requests are logged by `requestLog`
    serverFactory: httpServerFactory(config.http, deps.tls.http),
    clientErrorHandler: refuseConnection,
    frameworkErrors: (error, request, reply) => replyWithProblem(error, request, reply),
    bodyLimit: REQUEST_MAX_BYTES,
    genReqId: () => randomUUID(),
    trustProxy: false,
    return503OnClosing: false, // ours is a problem document
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);

  const closing = new AbortController();
  const endUnusedConnections = trackConnections(app.server);
  app.addHook("preClose", async () => {
    closing.abort();
    deps.watch.stop();
    endUnusedConnections();
  });

  await app.register(accessRules);
  await app.register(requestLog);
  await app.register(requestMetrics, { counting: deps.meter });
  await app.register(auditHook, { audit: deps.audit });
  await app.register(securityHeaders);
  await app.register(errorReply);
  await app.register(originHook, {
    listenHost: config.http.host,
    hosts: config.allowedHosts,
    origins: config.allowedOrigins,
  });
  await app.register(sameOriginHook);
  await app.register(closingReply, { closing: closing.signal });
  await app.register(rateHeaders, { allowance: deps.allowance });
  await app.register(principalHook, { identify: deps.identify });
  await app.register(requestTrace, { tracer: deps.tracer });
  await app.register(jsonBody);

  await app.register(openapi, { version: deps.build.version });
  await app.register(submitRoute, { deps });
  await app.register(vmRoutes, { deps });
  await app.register(submitBatchRoute, { deps, closing: closing.signal });
  await app.register(batchRoutes, { deps });
  await app.register(batchResultsRoute, { deps, closing: closing.signal });
  await app.register(hostRoutes, { deps });
  await app.register(hostWishRoutes, { deps });
  await app.register(failureRoutes, { deps });
  await app.register(consoleRoute, { deps, closing: closing.signal });
  await app.register(attestationPolicyRoute, { deps });
  await app.register(eventsRoute, { deps, closing: closing.signal });
  await app.register(healthRoutes, { deps });
  await app.register(metricsRoute, { deps });
  await app.register(fastifySwaggerUi, {
    routePrefix: "/docs",
    theme: { title: "drover API", css: [{ filename: "drover.css", content: ".swagger-ui .topbar { display: none }" }] },
    uiConfig: {
      urls: [{ url: "/openapi.json", name: "drover" }], // its own guess fails on an address with a query
      displayRequestDuration: true,
      tryItOutEnabled: false,
      validatorUrl: null,
    },
  });
  await app.register(boardPages, deps);
  await app.register(pageRoutes, { deps });
  return app;
}
