import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { DroverError } from "../../contract/errors.ts";
import { EventsQuery, StreamId } from "../../contract/http-query.ts";
import { requireAccept } from "../accept.ts";
import { recheck } from "../access/recheck.ts";
import type { ApiDeps } from "../api-deps.ts";
import type { EventFilter } from "../event-frame.ts";
import { startPosition } from "../event-position.ts";
import { streamEvents } from "../event-stream.ts";
import { OpenAnswer, ReaderGone } from "../open-answer.ts";
import type { Principal } from "../principal.ts";
import { problemResponses } from "../problem-responses.ts";
import { Seats } from "../seats.ts";

const headers = z.looseObject({
  "last-event-id": z
    .string()
    .optional()
    .describe("Resume after this event. Browsers send it by themselves; it wins over `after`."),
});

/** `GET /v1/events`: server-sent events. */
export const eventsRoute: FastifyPluginAsyncZod<{ readonly deps: ApiDeps; readonly closing: AbortSignal }> = async (
  app,
  { deps, closing },
) => {
  const { eventLog, eventFeed, gate, limits } = deps;
  const seats = new Seats("the event stream", limits.eventClientsMax);
  const forget = deps.meter.atScrape((gauges) => gauges.set("drover_open_streams", { stream: "events" }, seats.taken));
  app.addHook("onClose", async () => forget());
  app.get(
    "/v1/events",
    {
      exposeHeadRoute: false, // it would never end
      config: { access: "viewer" },
      preHandler: requireAccept("text/event-stream"),
      schema: {
        operationId: "streamEvents",
        summary: "Follow events",
        description:
          "Server-sent events without end. `data` is a CloudEvent 1.0 in JSON, `event` its type, `id` its place in the stream, to resume after. If events that were asked for are no longer kept, an event `gap` comes first (schema GapNotice). A reader that does not keep up is cut and resumes with its last id.",
        tags: ["Events"],
        querystring: EventsQuery,
        headers,
        response: {
          200: { description: "The stream.", content: { "text/event-stream": { schema: z.string() } } },
          ...problemResponses("invalid_request", "not_acceptable", "too_many_requests", "redis_unavailable"),
        },
      },
    },
    async (request, reply) => {
      const wanted = readLastEventId(request.headers["last-event-id"]) ?? request.query.after;
      using _seat = seats.take(request.principal);
      const start = startPosition(wanted, await gate.run(() => eventLog.bounds()));
      const answer = OpenAnswer.begin(reply, {
        contentType: "text/event-stream; charset=utf-8",
        stallMs: limits.stallMs,
        closing,
      });
      const filter = toFilter(request.principal, request.query);
      using _caller = recheck({
        request,
        identify: deps.identify,
        everyMs: limits.recheckCallerMs,
        cut: () => answer.cut(),
      });
      try {
        const end = await streamEvents({ ...limits, log: eventLog, feed: eventFeed, answer, filter, start });
        if (end === "slow") request.log.info("a slow reader of events was cut");
        answer.end();
      } catch (error) {
        // Also when Redis went away while the past was read: the reader comes back with its last id.
        answer.cut();
        if (!(error instanceof ReaderGone)) request.log.info({ err: error }, "an event stream was cut");
        else if (error.slow) request.log.info("a slow reader of events was cut");
      }
      return reply;
    },
  );
};

function readLastEventId(header: string | undefined): string | undefined {
  if (header === undefined || header === "") return undefined;
  const parsed = StreamId.safeParse(header);
  if (parsed.success) return parsed.data;
  const message = parsed.error.issues.map((issue) => issue.message).join("; ");
  throw new DroverError("invalid_request", `Last-Event-ID: ${message}`, {
    problems: [{ field: "Last-Event-ID", message }],
  });
}

/** An operator sees the events of all owners. */
function toFilter({ owner, role }: Principal, { type, vm, batch }: EventsQuery): EventFilter {
  const types = typeof type === "string" ? [type] : type;
  const vmIds = typeof vm === "string" ? [vm] : vm;
  return {
    owner: role === "operator" ? undefined : owner,
    types,
    vmIds: vmIds?.map((id) => id.toLowerCase()),
    batchId: batch?.toLowerCase(),
  };
}
