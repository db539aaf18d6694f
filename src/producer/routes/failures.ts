import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { DroverError } from "../../contract/errors.ts";
import {
  FailureList,
  FailureQuery,
  FailureStepQuery,
  FailuresDismissed,
  FailuresRetried,
} from "../../contract/failure-view.ts";
import { requireAccept } from "../accept.ts";
import type { ApiDeps } from "../api-deps.ts";
import { retryVm } from "../change-vm.ts";
import { nextStep } from "../failure-steps.ts";
import { toFailureGroup } from "../failure-view.ts";
import { listedOwner } from "../listed-owner.ts";
import { problemResponses } from "../problem-responses.ts";

const GroupPath = z.strictObject({ id: z.string().max(300).describe("The group's id: `<cause>@<host>`.") });

/** What failed, by cause and host, and what can be done to all VMs of such a group at once. */
export const failureRoutes: FastifyPluginAsyncZod<{ readonly deps: ApiDeps }> = async (app, { deps }) => {
  const { gate, failures } = deps;
  app.addHook("preHandler", requireAccept("application/json"));

  app.get(
    "/v1/failures",
    {
      config: { access: "viewer" },
      schema: {
        operationId: "listFailures",
        summary: "List failures by cause and host",
        description:
          "Groups of failed VMs that nobody has retried, dismissed or removed, most VMs first. A launch that failed and was followed by another one counts beside them (`launchedAgain`), since a host that fails often should be seen even where the VMs got through elsewhere.",
        tags: ["Failures"],
        querystring: FailureQuery,
        response: {
          200: FailureList.describe("All groups."),
          ...problemResponses("invalid_request", "not_acceptable", "redis_unavailable"),
        },
      },
    },
    async ({ principal, query: { owner, since, ...filter } }) => {
      const sinceMs = since === undefined ? undefined : Date.parse(since);
      const groups = await gate.run(() =>
        failures.groups({ ...filter, sinceMs, owner: listedOwner(principal, owner) }),
      );
      return { items: groups.map(toFailureGroup) };
    },
  );

  app.post(
    "/v1/failures/:id/retry",
    {
      config: { access: "submitter", audit: "failures.retry" },
      schema: {
        operationId: "retryFailures",
        summary: "Retry the failed VMs of a group",
        description:
          "Puts the failed VMs of the group back into the queue, each with all its attempts, in the order in which they failed: a limited number with each call. VMs that fail anew meanwhile are not met twice.",
        tags: ["Failures"],
        params: GroupPath,
        querystring: FailureStepQuery,
        response: {
          200: FailuresRetried.describe("What has been done, and how to go on."),
          ...problemResponses("invalid_request", "failure_group_not_found", "not_acceptable", "redis_unavailable"),
        },
      },
    },
    async ({ principal, params: { id: group }, query }) => {
      const owner = listedOwner(principal, query.owner);
      const { cursor } = query;
      const step = await nextStep(deps, { group, owner, kinds: ["vms"], cursor, nowMs: Date.now() });
      const refused: { vmId: string; code: string; message: string }[] = [];
      for (const vmId of step.vmIds) {
        try {
          await retryVm(deps, principal, vmId);
        } catch (error) {
          if (!(error instanceof DroverError) || error.code === "redis_unavailable") throw error;
          refused.push({ vmId, code: error.code, message: error.message });
        }
      }
      return { retried: step.vmIds.length - refused.length, refused, next: step.next };
    },
  );

  app.post(
    "/v1/failures/:id/dismiss",
    {
      config: { access: "submitter", audit: "failures.dismiss" },
      schema: {
        operationId: "dismissFailures",
        summary: "Dismiss a group",
        description:
          "Somebody has seen these failures: the VMs stay as they are and count among the failures no longer, until they fail anew. A limited number with each call.",
        tags: ["Failures"],
        params: GroupPath,
        querystring: FailureStepQuery,
        response: {
          200: FailuresDismissed.describe("What has been done, and how to go on."),
          ...problemResponses("invalid_request", "failure_group_not_found", "not_acceptable", "redis_unavailable"),
        },
      },
    },
    async ({ principal, params: { id: group }, query }) => {
      const owner = listedOwner(principal, query.owner);
      const { cursor } = query;
      const step = await nextStep(deps, { group, owner, kinds: ["vms", "again"], cursor, nowMs: Date.now() });
      let dismissed = 0;
      for (const vmId of step.vmIds)
        if (await gate.run(() => failures.dismiss({ vmId, group, by: principal.owner }))) dismissed += 1;
      return { dismissed, next: step.next };
    },
  );
};
