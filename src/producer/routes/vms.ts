import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { RemoveQuery } from "../../contract/http-query.ts";
import { PREFER_WAIT_MAX_S } from "../../contract/limits.ts";
import { isFinal } from "../../contract/vm-state.ts";
import { ListQuery, VmDetail, VmList, VmView } from "../../contract/vm-view.ts";
import { requireAccept } from "../accept.ts";
import type { ApiDeps } from "../api-deps.ts";
import { removeVm, retryVm } from "../change-vm.ts";
import { toForensicsView } from "../failure-view.ts";
import { listedOwner } from "../listed-owner.ts";
import { waitAsPreferred } from "../preferred-wait.ts";
import { problemResponses } from "../problem-responses.ts";
import { readVm, toVmId } from "../read-vm.ts";
import { traceOf } from "../request-trace.ts";
import { showVm, showVms } from "../show-vms.ts";
import { hasEnded, isUp } from "../wait-for-vm.ts";

export const VmPath = z.strictObject({ id: z.string().describe("The VM's id, a UUID.") });

const prefer = (what: string) =>
  z.looseObject({
    prefer: z
      .string()
      .optional()
      .describe(`\`wait=N\`: answer when ${what}, after N seconds at the latest, at most ${PREFER_WAIT_MAX_S}.`),
  });

/** Lists, shows, removes and retries VMs. */
export const vmRoutes: FastifyPluginAsyncZod<{ readonly deps: ApiDeps }> = async (app, { deps }) => {
  app.addHook("preHandler", requireAccept("application/json"));

  app.get(
    "/v1/vms",
    {
      config: { access: "viewer" },
      schema: {
        operationId: "listVms",
        summary: "List VMs",
        description:
          "Newest first. All filters given must fit. A page may be short and still have a next one; the last page has `next: null`.",
        tags: ["VMs"],
        querystring: ListQuery,
        response: {
          200: VmList.describe("A page of VMs."),
          ...problemResponses("invalid_request", "not_acceptable", "redis_unavailable"),
        },
      },
    },
    async ({ principal, query }) => {
      const { state, label, owner, ...filter } = query;
      const states = typeof state === "string" ? [state] : state;
      const labels = typeof label === "string" ? [label] : label;
      const page = await deps.gate.run(() =>
        deps.store.list({ ...filter, states, labels, owner: listedOwner(principal, owner) }),
      );
      return { items: await showVms(deps, page.records), next: page.next };
    },
  );

  app.get(
    "/v1/vms/:id",
    {
      config: { access: "viewer" },
      schema: {
        operationId: "getVm",
        summary: "Show a VM",
        description:
          "The VM with the last lines of its console and of QEMU's own output, which stay when a launch is over, and with the details of its failed launches.",
        tags: ["VMs"],
        params: VmPath,
        response: {
          200: VmDetail.describe("The VM."),
          ...problemResponses("vm_not_found", "not_acceptable", "vm_gone", "redis_unavailable"),
        },
      },
    },
    async ({ principal, params }) => {
      const record = await readVm(deps, principal, toVmId(params.id));
      const [tail, forensics] = await deps.gate.run(() =>
        Promise.all([deps.store.tail(record.vmId), deps.failures.forensics(record.vmId)]),
      );
      const kept = forensics.map(({ launch, files }) => toForensicsView(launch, files));
      return { ...(await showVm(deps, record)), tail: tail ?? null, forensics: kept.length === 0 ? null : kept };
    },
  );

  app.delete(
    "/v1/vms/:id",
    {
      config: { access: "submitter", audit: "vm.remove" },
      schema: {
        operationId: "removeVm",
        summary: "Remove a VM",
        description: "From now on the VM never runs again. Removing twice, or a VM that has ended, is no error.",
        tags: ["VMs"],
        params: VmPath,
        querystring: RemoveQuery,
        headers: prefer("the VM is gone"),
        response: {
          200: VmView.describe("It has ended: nothing of it runs, and no file, port or secret is left."),
          202: VmView.describe("A host still has to stop it."),
          ...problemResponses("invalid_request", "vm_not_found", "not_acceptable", "vm_gone", "redis_unavailable"),
        },
      },
    },
    async (request, reply) => {
      const vmId = toVmId(request.params.id);
      const removed = await removeVm(deps, request.principal, {
        vmId,
        force: request.query.force ?? false,
        trace: traceOf(request),
      });
      const record = await waitAsPreferred(deps, { request, reply, record: removed, until: hasEnded });
      return reply.code(isFinal(record.state) ? 200 : 202).send(await showVm(deps, record));
    },
  );

  app.post(
    "/v1/vms/:id/retry",
    {
      config: { access: "submitter", audit: "vm.retry" },
      schema: {
        operationId: "retryVm",
        summary: "Retry a failed VM",
        description: "Puts a failed VM back into the queue with all its attempts. Takes no body.",
        tags: ["VMs"],
        params: VmPath,
        headers: prefer("the guest runs again"),
        response: {
          202: VmView.describe("It is queued again."),
          ...problemResponses(
            "vm_not_found",
            "not_acceptable",
            "not_retryable",
            "secrets_gone",
            "vm_gone",
            "redis_unavailable",
          ),
        },
      },
    },
    async (request, reply) => {
      const retried = await retryVm(deps, request.principal, toVmId(request.params.id));
      const record = await waitAsPreferred(deps, { request, reply, record: retried, until: isUp });
      return reply
        .code(202)
        .header("location", `/v1/vms/${record.vmId}`)
        .send(await showVm(deps, record));
    },
  );
};
