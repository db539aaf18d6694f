import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { PREFER_WAIT_MAX_S, REQUEST_MAX_BYTES } from "../../contract/limits.ts";
import { VmRequest } from "../../contract/vm-request.ts";
import { VmAccepted } from "../../contract/vm-view.ts";
import { requireAccept } from "../accept.ts";
import type { ApiDeps } from "../api-deps.ts";
import { readIdempotencyKey } from "../idempotency.ts";
import { waitAsPreferred } from "../preferred-wait.ts";
import { problemResponses } from "../problem-responses.ts";
import { traceOf } from "../request-trace.ts";
import { showAccepted } from "../show-vms.ts";
import { submitVm } from "../submit-vm.ts";
import { isUp } from "../wait-for-vm.ts";

const headers = z.looseObject({
  "idempotency-key": z
    .string()
    .optional()
    .describe(
      "Makes a repeated request harmless: the VM of the first one is answered. Kept for 24 h, and as long as the VM.",
    ),
  prefer: z
    .string()
    .optional()
    .describe(
      `\`wait=N\`: answer when the guest runs (or answers its probe, or the VM has ended), after N seconds at the latest, at most ${PREFER_WAIT_MAX_S}.`,
    ),
});

/** `POST /v1/vms`. */
export const submitRoute: FastifyPluginAsyncZod<{ readonly deps: ApiDeps }> = async (app, { deps }) => {
  app.route({
    method: "POST",
    url: "/v1/vms",
    config: { access: "submitter", audit: "vm.submit" },
    bodyLimit: REQUEST_MAX_BYTES,
    preHandler: requireAccept("application/json"),
    schema: {
      operationId: "submitVm",
      summary: "Submit a VM",
      description:
        "Accepts a VM and puts it into the queue. All fields are optional. Secrets are sealed before anything is stored.",
      tags: ["VMs"],
      headers,
      body: VmRequest,
      response: {
        202: VmAccepted.describe("Accepted; `Location` is the VM. After `Prefer: wait` the state says how far it got."),
        200: VmAccepted.describe(
          "This very request was accepted before under its idempotency key (`replayed` is true).",
        ),
        ...problemResponses(
          "invalid_request",
          "not_acceptable",
          "malformed_body",
          "idempotency_conflict",
          "vm_gone",
          "body_too_large",
          "unsupported_media_type",
          "secrets_key_missing",
          "kbs_params_with_disk",
          "redis_unavailable",
        ),
      },
    },
    handler: async (request, reply) => {
      const idempotencyKey = readIdempotencyKey(request.headers["idempotency-key"]);
      const submitted = await submitVm(deps, request.principal, {
        request: request.body,
        idempotencyKey,
        trace: traceOf(request),
      });
      reply.header("location", `/v1/vms/${submitted.record.vmId}`); // for the audit, should the client leave now
      const record = await waitAsPreferred(deps, { request, reply, record: submitted.record, until: isUp });
      return reply
        .code(submitted.replayed ? 200 : 202)
        .send(await showAccepted(deps, { record, replayed: submitted.replayed }));
    },
  });
};
