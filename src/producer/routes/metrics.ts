import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import type { ApiDeps } from "../api-deps.ts";
import { apiGauges } from "../api-gauges.ts";
import { fleetGauges } from "../fleet-gauges.ts";
import { problemResponses } from "../problem-responses.ts";

/** `GET /metrics`, in Prometheus's text format. */
export const metricsRoute: FastifyPluginAsyncZod<{ readonly deps: ApiDeps }> = async (app, { deps }) => {
  const { meter } = deps;
  const readers = [apiGauges(deps), fleetGauges(deps)].map((reader) => meter.atScrape(reader));
  app.addHook("onClose", async () => {
    for (const forget of readers) forget();
  });

  app.get(
    "/metrics",
    {
      exposeHeadRoute: false, // a scrape is no small thing
      config: { access: "operator" },
      schema: {
        operationId: "getMetrics",
        summary: "Metrics",
        description:
          "For Prometheus, in its text format; docs/metrics.md lists them. Answers also while Redis is away, to whoever was let in within the hour before.",
        tags: ["Health"],
        response: {
          200: { description: "All metrics.", content: { "text/plain": { schema: z.string() } } },
          ...problemResponses("redis_unavailable"),
        },
      },
    },
    async (_request, reply) => {
      const text = await meter.scrape();
      return reply
        .header("cache-control", "no-store")
        .type(meter.contentType)
        .serializer(() => text)
        .send(text);
    },
  );
};
