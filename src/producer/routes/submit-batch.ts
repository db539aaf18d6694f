import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { BatchAccepted, BatchSubmitQuery } from "../../contract/batch.ts";
import { requireAccept } from "../accept.ts";
import type { ApiDeps } from "../api-deps.ts";
import { acceptBatch } from "../batches/accept-batch.ts";
import { toBatchView } from "../batches/batch-view.ts";
import { uploadChunks } from "../batches/upload-chunks.ts";
import { readIdempotencyKey } from "../idempotency.ts";
import { assertReadable, JSON_TYPE } from "../json-body.ts";
import { jsonReader } from "../json-text.ts";
import { problemResponses } from "../problem-responses.ts";
import { traceOf } from "../request-trace.ts";
import { Seats } from "../seats.ts";
import { allowSilence } from "../silent-socket.ts";

const NDJSON_TYPE = /^application\/x-ndjson\s*(;\s*charset\s*=\s*"?utf-?8"?\s*)?(;\s*)?$/i;
const READ_TYPES = { types: [JSON_TYPE, NDJSON_TYPE], wanted: "application/x-ndjson or application/json" };

const headers = z.looseObject({
  "idempotency-key": z
    .string()
    .optional()
    .describe("Makes a repeated upload harmless: the batch of the first one is answered. Kept as long as the batch."),
});

/** `POST /v1/batches`. Its body is read as it comes, whatever its length. */
export const submitBatchRoute: FastifyPluginAsyncZod<{
  readonly deps: ApiDeps;
  readonly closing: AbortSignal;
}> = async (app, { deps, closing }) => {
  const seats = new Seats("the upload of a batch", deps.limits.uploadsMax);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (request, _body, done) => {
    try {
      assertReadable(request.headers, READ_TYPES);
      done(null); // the handler takes it from the connection
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
    }
  });
  app.route({
    method: "POST",
    url: "/v1/batches",
    config: { access: "submitter", audit: "batch.submit" },
    preHandler: requireAccept("application/json"),
    schema: {
      operationId: "submitBatch",
      summary: "Submit a batch",
      description:
        'Accepts many requests at once, all or none. NDJSON has one request on each line, and its first line may be `{"batch": {...}}` with what a JSON object has besides `items`. A JSON body may also be the list of requests itself; `defaults` must stand before `items`. With a wrong line nothing is accepted, unless `partial` says so, and all wrong lines are answered. Secrets are sealed before anything is stored. For the limit of requests a batch counts as one.',
      tags: ["Batches"],
      querystring: BatchSubmitQuery,
      headers,
      response: {
        202: BatchAccepted.describe("Accepted; `Location` is the batch."),
        200: BatchAccepted.describe(
          "This very batch was accepted before under its idempotency key (`replayed` is true).",
        ),
        ...problemResponses(
          "invalid_request",
          "not_acceptable",
          "malformed_body",
          "request_timeout",
          "idempotency_conflict",
          "body_too_large",
          "unsupported_media_type",
          "batch_invalid",
          "secrets_key_missing",
          "too_many_requests",
          "redis_unavailable",
        ),
      },
    },
    handler: async (request, reply) => {
      const { raw, principal, query } = request;
      const idempotencyKey = readIdempotencyKey(request.headers["idempotency-key"]);
      using _seat = seats.take(principal);
      allowSilence(reply); // the upload has bounds of its own
      const chunks = uploadChunks(raw, {
        maxBytes: deps.config.batches.bytesMax,
        silenceMaxMs: deps.config.http.readTimeoutMs,
        closing,
      });
      const { batch, replayed } = await acceptBatch(deps, principal, {
        chunks,
        format: JSON_TYPE.test(request.headers["content-type"] ?? "") ? "list" : "lines",
        readJson: jsonReader(app, request),
        partial: query.partial ?? false,
        idempotencyKey,
        trace: traceOf(request),
      });
      return reply
        .code(replayed ? 200 : 202)
        .header("location", `/v1/batches/${batch.batchId}`)
        .send({ ...toBatchView(batch, Date.now()), replayed, problems: [...batch.problems] });
    },
  });
};
