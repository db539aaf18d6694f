import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import {
  BatchItems,
  BatchItemsQuery,
  BatchList,
  BatchListQuery,
  BatchRetried,
  BatchRetryQuery,
  BatchView,
} from "../../contract/batch.ts";
import { requireAccept } from "../accept.ts";
import type { ApiDeps } from "../api-deps.ts";
import { toBatchItem, toBatchView } from "../batches/batch-view.ts";
import { cancelBatch, retryBatch } from "../batches/change-batch.ts";
import { readBatch } from "../batches/read-batch.ts";
import { listedOwner } from "../listed-owner.ts";
import { problemResponses } from "../problem-responses.ts";

export const BatchPath = z.strictObject({ id: z.string().describe("The batch's id.") });

/** Lists, shows, cancels and retries batches. */
export const batchRoutes: FastifyPluginAsyncZod<{ readonly deps: ApiDeps }> = async (app, { deps }) => {
  const { batches, gate } = deps;
  app.addHook("preHandler", requireAccept("application/json"));

  app.get(
    "/v1/batches",
    {
      config: { access: "viewer" },
      schema: {
        operationId: "listBatches",
        summary: "List batches",
        description:
          "Newest first. A page may be short and still have a next one; the last page has `next: null`. Rate and estimate are in the single batch only.",
        tags: ["Batches"],
        querystring: BatchListQuery,
        response: {
          200: BatchList.describe("A page of batches."),
          ...problemResponses("invalid_request", "not_acceptable", "redis_unavailable"),
        },
      },
    },
    async ({ principal, query }) => {
      const owner = listedOwner(principal, query.owner, "batches");
      const page = await gate.run(() => batches.list({ ...query, owner }));
      const nowMs = Date.now();
      return { items: page.batches.map((batch) => toBatchView(batch, nowMs)), next: page.next };
    },
  );

  app.get(
    "/v1/batches/:id",
    {
      config: { access: "viewer" },
      schema: {
        operationId: "getBatch",
        summary: "Show a batch",
        description: "Counts by state, the rate, when it will have ended at this rate, and failures by cause.",
        tags: ["Batches"],
        params: BatchPath,
        response: {
          200: BatchView.describe("The batch."),
          ...problemResponses("batch_not_found", "not_acceptable", "redis_unavailable"),
        },
      },
    },
    async ({ principal, params }) => toBatchView(await readBatch(deps, principal, params.id), Date.now()),
  );

  app.get(
    "/v1/batches/:id/items",
    {
      config: { access: "viewer" },
      schema: {
        operationId: "listBatchItems",
        summary: "List the items of a batch",
        description: "In the order of the requests. A page may be short and still have a next one.",
        tags: ["Batches"],
        params: BatchPath,
        querystring: BatchItemsQuery,
        response: {
          200: BatchItems.describe("A page of items."),
          ...problemResponses("invalid_request", "batch_not_found", "not_acceptable", "redis_unavailable"),
        },
      },
    },
    async ({ principal, params, query: { state, ...filter } }) => {
      const { batchId } = await readBatch(deps, principal, params.id);
      const states = typeof state === "string" ? [state] : state;
      const page = await gate.run(() => batches.items(batchId, { ...filter, states }));
      return { items: page.items.map(toBatchItem), next: page.next };
    },
  );

  app.delete(
    "/v1/batches/:id",
    {
      config: { access: "submitter", audit: "batch.cancel" },
      schema: {
        operationId: "cancelBatch",
        summary: "Cancel a batch",
        description:
          "Nothing further of it is launched, at once; its VMs are removed in small steps. Cancelling twice, or a batch that has ended, is no error.",
        tags: ["Batches"],
        params: BatchPath,
        response: {
          200: BatchView.describe("It has ended."),
          202: BatchView.describe("Some of its VMs still have to be removed."),
          ...problemResponses("batch_not_found", "not_acceptable", "redis_unavailable"),
        },
      },
    },
    async ({ principal, params }, reply) => {
      const batch = await cancelBatch(deps, principal, params.id);
      return reply.code(batch.state === "ended" ? 200 : 202).send(toBatchView(batch, Date.now()));
    },
  );

  app.post(
    "/v1/batches/:id/retry-failed",
    {
      config: { access: "submitter", audit: "batch.retry" },
      schema: {
        operationId: "retryFailedOfBatch",
        summary: "Retry the failed VMs of a batch",
        description:
          "Puts its failed VMs back into its list with all their attempts, all or those of one cause; the batch goes on. Takes no body.",
        tags: ["Batches"],
        params: BatchPath,
        querystring: BatchRetryQuery,
        response: {
          202: BatchRetried.describe("They are launched again as there is room."),
          ...problemResponses(
            "invalid_request",
            "batch_not_found",
            "not_acceptable",
            "batch_ended",
            "redis_unavailable",
          ),
        },
      },
    },
    async ({ principal, params, query }, reply) =>
      reply.code(202).send(await retryBatch(deps, principal, { text: params.id, cause: query.cause })),
  );
};
