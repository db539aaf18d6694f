import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { ConsoleQuery } from "../../contract/http-query.ts";
import { requireAccept } from "../accept.ts";
import { recheck } from "../access/recheck.ts";
import type { ApiDeps } from "../api-deps.ts";
import { followConsole, readConsole } from "../console-stream.ts";
import { OpenAnswer, ReaderGone } from "../open-answer.ts";
import { problemResponses } from "../problem-responses.ts";
import { readVm, toVmId } from "../read-vm.ts";
import { Seats } from "../seats.ts";
import { VmPath } from "./vms.ts";

/** Bytes as they are: they pass every schema, and are text for whoever reads the description of the API. */
const Output = z.custom<Buffer>().meta({ type: "string" });
/** The guest's bytes are shown as text and never as a page. */
const CONTENT_TYPE = "text/plain; charset=utf-8";

/** `GET /v1/vms/{id}/console`. */
export const consoleRoute: FastifyPluginAsyncZod<{ readonly deps: ApiDeps; readonly closing: AbortSignal }> = async (
  app,
  { deps, closing },
) => {
  const seats = new Seats("a followed console", deps.limits.consoleClientsMax);
  const forget = deps.meter.atScrape((gauges) => gauges.set("drover_open_streams", { stream: "console" }, seats.taken));
  app.addHook("onClose", async () => forget());
  app.get(
    "/v1/vms/:id/console",
    {
      exposeHeadRoute: false, // a HEAD of a followed console would never end
      config: { access: "viewer" },
      preHandler: requireAccept("text/plain"),
      schema: {
        operationId: "getVmConsole",
        summary: "Read a VM's console",
        description:
          "What the guest wrote, as it wrote it: the last bytes, and with `follow` everything that comes, over all launches, until the VM has ended. Only a bounded part is kept; what was lost before it could be sent is said in a line of its own.",
        tags: ["VMs"],
        params: VmPath,
        querystring: ConsoleQuery,
        response: {
          200: { description: "The guest's output.", content: { "text/plain": { schema: Output } } },
          ...problemResponses(
            "invalid_request",
            "not_acceptable",
            "vm_not_found",
            "vm_gone",
            "too_many_requests",
            "redis_unavailable",
          ),
        },
      },
    },
    async (request, reply) => {
      const { follow, bytes } = request.query;
      const record = await readVm(deps, request.principal, toVmId(request.params.id));
      if (follow !== true) {
        const text = await readConsole(deps, { record, bytes });
        return reply.type(CONTENT_TYPE).send(text);
      }
      using _seat = seats.take(request.principal);
      const answer = OpenAnswer.begin(reply, { contentType: CONTENT_TYPE, stallMs: deps.limits.stallMs, closing });
      using _caller = recheck({
        request,
        identify: deps.identify,
        everyMs: deps.limits.recheckCallerMs,
        cut: () => answer.cut(),
      });
      try {
        await followConsole(deps, { record, bytes }, answer);
        answer.end();
      } catch (error) {
        answer.cut();
        if (!(error instanceof ReaderGone))
          request.log.error({ err: error, vmId: record.vmId }, "following a console failed");
        else if (error.slow) request.log.info({ vmId: record.vmId }, "a slow reader of a console was cut");
      }
      return reply;
    },
  );
};
