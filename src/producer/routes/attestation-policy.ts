import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { inSpan } from "../../runtime/tracing/in-span.ts";
import { requireAccept } from "../accept.ts";
import type { ApiDeps } from "../api-deps.ts";
import { attestationPolicy, policyMediaType } from "../attestation-policy.ts";
import { problemResponses } from "../problem-responses.ts";
import { toVmId } from "../read-vm.ts";
import { traceOf } from "../request-trace.ts";
import { VmPath } from "./vms.ts";

/** Bytes as they are: they pass every schema. */
const Policy = z.custom<Buffer>().meta({ type: "string", format: "binary" });

/** `GET /v1/vms/{id}/attestation-policy`. */
export const attestationPolicyRoute: FastifyPluginAsyncZod<{ readonly deps: ApiDeps }> = async (app, { deps }) => {
  const mediaType = policyMediaType(deps);
  app.get(
    "/v1/vms/:id/attestation-policy",
    {
      config: { access: "viewer", traced: true },
      preHandler: requireAccept(mediaType),
      schema: {
        operationId: "getVmAttestationPolicy",
        summary: "Get a VM's attestation policy",
        description:
          "What a verifier shall find in the evidence of the VM's guest: a CoRIM, `application/rim+cbor`, or `application/rim+cose` where this server signs it. Only SEV-SNP and TDX VMs have one, from their launch on.",
        tags: ["VMs"],
        params: VmPath,
        response: {
          200: { description: "The policy.", content: { [mediaType]: { schema: Policy } } },
          ...problemResponses(
            "invalid_request",
            "vm_not_found",
            "not_acceptable",
            "policy_unavailable",
            "vm_gone",
            "redis_unavailable",
          ),
        },
      },
    },
    async (request, reply) => {
      const vmId = toVmId(request.params.id);
      const span = deps.tracer.start("fetch_attestation_policy", { parent: traceOf(request), attributes: { vmId } });
      const policy = await inSpan(span, () => attestationPolicy(deps, request.principal, vmId));
      return reply.type(mediaType).send(Buffer.from(policy));
    },
  );
};
