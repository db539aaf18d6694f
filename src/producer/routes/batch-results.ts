import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { requireAccept } from "../accept.ts";
import { recheck } from "../access/recheck.ts";
import type { ApiDeps } from "../api-deps.ts";
import { readBatch } from "../batches/read-batch.ts";
import { resultPages, writeResults } from "../batches/results-stream.ts";
import { OpenAnswer, ReaderGone } from "../open-answer.ts";
import { problemResponses } from "../problem-responses.ts";
import { Seats } from "../seats.ts";
import { BatchPath } from "./batches.ts";

const NDJSON = "application/x-ndjson";

/** `GET /v1/batches/{id}/results`. */
export const batchResultsRoute: FastifyPluginAsyncZod<{
  readonly deps: ApiDeps;
  readonly closing: AbortSignal;
}> = async (app, { deps, closing }) => {
  const { limits } = deps;
  const seats = new Seats("the results of a batch", limits.consoleClientsMax);
  app.get(
    "/v1/batches/:id/results",
    {
      exposeHeadRoute: false, // it would read all of them
      config: { access: "viewer" },
      preHandler: requireAccept(NDJSON),
      schema: {
        operationId: "getBatchResults",
        summary: "Read the results of a batch",
        description:
          "NDJSON: a line for each item that has ended by now (schema BatchResult), in the order of the requests. It is whole when the answer ends in good order; an answer that is cut is not.",
        tags: ["Batches"],
        params: BatchPath,
        response: {
          200: { description: "The results.", content: { [NDJSON]: { schema: z.string() } } },
          ...problemResponses("batch_not_found", "not_acceptable", "too_many_requests", "redis_unavailable"),
        },
      },
    },
    async (request, reply) => {
      const { batchId } = await readBatch(deps, request.principal, request.params.id);
      using _seat = seats.take(request.principal);
      const answer = OpenAnswer.begin(reply, { contentType: NDJSON, stallMs: limits.stallMs, closing });
      using _caller = recheck({
        request,
        identify: deps.identify,
        everyMs: limits.recheckCallerMs,
        cut: () => answer.cut(),
      });
      try {
        await writeResults(resultPages(deps, batchId), answer);
        if (closing.aborted) answer.cut();
        else answer.end();
      } catch (error) {
        answer.cut();
        if (!(error instanceof ReaderGone)) request.log.info({ err: error, batchId }, "results of a batch were cut");
        else if (error.slow) request.log.info({ batchId }, "a slow reader of results was cut");
      }
      return reply;
    },
  );
};
