import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { DroverError } from "../../contract/errors.ts";
import { HostDetail, HostForgotten, HostList } from "../../contract/host-view.ts";
import { forgetHost } from "../../queue/forget-host.ts";
import { requireAccept } from "../accept.ts";
import type { ApiDeps } from "../api-deps.ts";
import { toHostView } from "../host-view.ts";
import { problemResponses } from "../problem-responses.ts";
import { HostPath, hostNotFound, readHost, shortId } from "../read-host.ts";

/** Lists, shows and forgets hosts. */
export const hostRoutes: FastifyPluginAsyncZod<{ readonly deps: ApiDeps }> = async (app, { deps }) => {
  const { gate, hosts, lostVms } = deps;
  app.addHook("preHandler", requireAccept("application/json"));

  app.get(
    "/v1/hosts",
    {
      config: { access: "operator" },
      schema: {
        operationId: "listHosts",
        summary: "List hosts",
        description: "Every host that ever had a worker and was not forgotten, in the order of their ids.",
        tags: ["Hosts"],
        response: {
          200: HostList.describe("All hosts."),
          ...problemResponses("invalid_request", "not_acceptable", "redis_unavailable"),
        },
      },
    },
    async () => {
      const [known, held] = await gate.run(() => Promise.all([hosts.hosts(), lostVms.held()]));
      const facts = { held, portsTaken: await gate.run(() => hosts.portsTaken(known)) };
      return { items: known.map((host) => toHostView(host, facts)) };
    },
  );

  app.get(
    "/v1/hosts/:id",
    {
      config: { access: "operator" },
      schema: {
        operationId: "getHost",
        summary: "Show a host",
        description: "The host with the VMs that it has.",
        tags: ["Hosts"],
        params: HostPath,
        response: {
          200: HostDetail.describe("The host."),
          ...problemResponses("host_not_found", "not_acceptable", "redis_unavailable"),
        },
      },
    },
    async ({ params: { id } }) => readHost(deps, id),
  );

  app.delete(
    "/v1/hosts/:id",
    {
      config: { access: "operator", audit: "host.forget" },
      schema: {
        operationId: "forgetHost",
        summary: "Forget a host that is gone for good",
        description:
          "An operator's word that nothing runs on the host any more: its VMs go back into the queue and may be launched elsewhere, those whose removal was asked for are `removed` (unverified), whatever the policy of the host. Refused while the host lives. Should the host come back after all, it stops its own copies.",
        tags: ["Hosts"],
        params: HostPath,
        response: {
          200: HostForgotten.describe("The host is forgotten; these were its VMs."),
          ...problemResponses("host_not_found", "host_alive", "not_acceptable", "redis_unavailable"),
        },
      },
    },
    async ({ principal, params: { id }, log }) => {
      const outcome = await gate.run(() => forgetHost({ hosts, lostVms }, id));
      if (outcome.kind === "not_found") throw hostNotFound(id);
      if (outcome.kind === "alive") throw alive(id);
      const { requeued, removed, failed } = outcome;
      log.warn(
        { host: id, by: principal.owner, requeued: requeued.length, removed: removed.length, failed: failed.length },
        "a host was forgotten",
      );
      return { id, requeued: [...requeued], removed: [...removed], failed: [...failed] };
    },
  );
};

function alive(id: string): DroverError {
  return new DroverError(
    "host_alive",
    `host ${shortId(id)} lives and tends its VMs itself; stop its worker first, and wait until its lease has lapsed`,
  );
}
