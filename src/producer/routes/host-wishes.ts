import type { FastifyRequest } from "fastify";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { DroverError } from "../../contract/errors.ts";
import { parseGoDurationMs } from "../../contract/go-duration.ts";
import { HostDetail } from "../../contract/host-view.ts";
import type { HostWish } from "../../contract/host-wish.ts";
import { HostDrainQuery, HostWishQuery } from "../../contract/http-query.ts";
import { waitUntil } from "../../runtime/bounded-wait.ts";
import { requireAccept } from "../accept.ts";
import type { ApiDeps } from "../api-deps.ts";
import { hasHeeded, statusOf } from "../host-view.ts";
import { problemResponses } from "../problem-responses.ts";
import { HostPath, hostNotFound, readHost, shortId } from "../read-host.ts";

/** A live worker hears within milliseconds; the answer waits so long for it, to be able to say so. */
const HEARD_MAX_MS = 1_000;
const HEARD_LOOK_MS = 25;
const CODES = ["invalid_request", "host_not_found", "not_acceptable", "redis_unavailable"] as const;
const HOST = HostDetail.describe("The host as it stands now; `admission.heeded` says whether its worker has heard it.");

/** What an operator wants of a host: to take VMs, no new ones, none at all. */
export const hostWishRoutes: FastifyPluginAsyncZod<{ readonly deps: ApiDeps }> = async (app, { deps }) => {
  app.addHook("preHandler", requireAccept("application/json"));

  app.post(
    "/v1/hosts/:id/cordon",
    {
      config: { access: "operator", audit: "host.cordon" },
      schema: {
        operationId: "cordonHost",
        summary: "Let a host take no new VM",
        description:
          "Its VMs run on. It stands until the host is opened again (`resume`) or forgotten, over restarts of its worker; a worker that is away heeds it when it is back. Takes no body. Doing it again is no error.",
        tags: ["Hosts"],
        params: HostPath,
        querystring: HostWishQuery,
        response: { 200: HOST, ...problemResponses(...CODES) },
      },
    },
    async (request) => wish(deps, request, { kind: "cordoned", note: request.query.note ?? null, timeoutMs: null }),
  );

  app.post(
    "/v1/hosts/:id/drain",
    {
      config: { access: "operator", audit: "host.drain" },
      schema: {
        operationId: "drainHost",
        summary: "Wait until a host has no VM",
        description:
          "As `cordon`, until the last VM has ended by itself (`admission.done`). With `timeout` what is left after that time is evacuated. Refused for a host that is lost. Takes no body. Doing it again is no error, and does not begin the time anew.",
        tags: ["Hosts"],
        params: HostPath,
        querystring: HostDrainQuery,
        response: { 200: HOST, ...problemResponses(...CODES, "host_state") },
      },
    },
    async (request) => {
      const { note = null, timeout } = request.query;
      await refuseLost(deps, request.params.id, "drained");
      const timeoutMs = timeout === undefined ? null : Math.round(parseGoDurationMs(timeout));
      return wish(deps, request, { kind: "draining", note, timeoutMs });
    },
  );

  app.post(
    "/v1/hosts/:id/evacuate",
    {
      config: { access: "operator", audit: "host.evacuate" },
      schema: {
        operationId: "evacuateHost",
        summary: "Move a host's VMs to other hosts",
        description:
          "As `cordon`, and its VMs are stopped and go back to the queue, to be launched elsewhere: no attempt is used and no host is blamed, but what a guest has done so far is lost. A VM that no other live host that takes VMs could run stays where it is (`admission.held`), and goes when one has come. Refused for a host that is lost. Takes no body. Doing it again is no error.",
        tags: ["Hosts"],
        params: HostPath,
        querystring: HostWishQuery,
        response: { 200: HOST, ...problemResponses(...CODES, "host_state") },
      },
    },
    async (request) => {
      await refuseLost(deps, request.params.id, "evacuated");
      return wish(deps, request, { kind: "evacuating", note: request.query.note ?? null, timeoutMs: null });
    },
  );

  app.post(
    "/v1/hosts/:id/resume",
    {
      config: { access: "operator", audit: "host.resume" },
      schema: {
        operationId: "resumeHost",
        summary: "Let a host take VMs again",
        description:
          "Ends `cordon`, `drain` and `evacuate`. A VM that is being stopped already goes elsewhere all the same. Takes no body. Doing it again is no error.",
        tags: ["Hosts"],
        params: HostPath,
        querystring: HostWishQuery,
        response: { 200: HOST, ...problemResponses(...CODES) },
      },
    },
    async (request) => wish(deps, request, { kind: "open", note: request.query.note ?? null, timeoutMs: null }),
  );
};

async function wish(
  deps: ApiDeps,
  { principal, params, log }: Pick<FastifyRequest<{ Params: { id: string } }>, "principal" | "params" | "log">,
  wanted: Omit<HostWish, "by">,
): Promise<HostDetail> {
  const { gate, hosts, queue } = deps;
  const { id } = params;
  const isKnown = await gate.run(() => hosts.wish(id, { ...wanted, by: principal.owner }));
  if (!isKnown) throw hostNotFound(id);
  // The host would find it out with the next renewal of its lease; this only makes it quick.
  await gate.run(() => queue.notifyWish(id));
  await waitUntil(() => gate.run(() => isSettled(hosts, id)), { timeoutMs: HEARD_MAX_MS, intervalMs: HEARD_LOOK_MS });
  log.info({ host: id, wish: wanted.kind, by: principal.owner, note: wanted.note }, "a host is wanted otherwise");
  return readHost(deps, id);
}

/** The worker has heard it; or none is there that could. */
async function isSettled(hosts: ApiDeps["hosts"], id: string): Promise<boolean> {
  const host = await hosts.host(id);
  return host?.lease === undefined || host.description?.wish === undefined || hasHeeded(host);
}

/** Nobody is there to do it, and nobody may ever be. */
async function refuseLost({ gate, hosts }: ApiDeps, id: string, done: "drained" | "evacuated"): Promise<void> {
  const host = await gate.run(() => hosts.host(id));
  if (host === undefined || statusOf(host) !== "lost") return;
  throw new DroverError(
    "host_state",
    `host ${shortId(id)} is lost and cannot be ${done}: its policy says what becomes of its VMs; forget it with DELETE /v1/hosts/${encodeURIComponent(id.slice(0, 64))} when it is gone for good, or cordon it, should it come back`,
  );
}
