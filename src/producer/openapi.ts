import fastifySwagger from "@fastify/swagger";
import type { FastifyInstance } from "fastify";
import fp from "fastify-plugin";
import { jsonSchemaTransform, jsonSchemaTransformObject } from "fastify-type-provider-zod";
import { z } from "zod";
import { BatchAccepted, BatchItem, BatchList, BatchRequest, BatchResult, BatchView } from "../contract/batch.ts";
import { HostDetail, HostForgotten, HostList, HostView } from "../contract/host-view.ts";
import { GapNotice } from "../contract/http-query.ts";
import { CloudEvent } from "../contract/vm-event.ts";
import { VmRequest, VmSpec } from "../contract/vm-request.ts";
import { CauseView, LaunchView, Problem, VmAccepted, VmDetail, VmList, VmView } from "../contract/vm-view.ts";
import { SubmitWarning, WaitingView } from "../contract/waiting.ts";
import { finishDocument } from "./openapi-document.ts";

/** Schemas that the document names, so that generated clients get types of these names. */
const COMPONENTS = {
  VmRequest,
  VmSpec,
  VmView,
  VmDetail,
  VmAccepted,
  VmList,
  CauseView,
  WaitingView,
  SubmitWarning,
  LaunchView,
  HostView,
  HostDetail,
  HostList,
  HostForgotten,
  BatchRequest,
  BatchView,
  BatchAccepted,
  BatchList,
  BatchItem,
  BatchResult,
  CloudEvent,
  GapNotice,
  Problem,
};

const EXAMPLES: Readonly<Record<string, object>> = {
  VmRequest: {
    name: "nightly-42",
    labels: { team: "weather" },
    priority: "normal",
    ttl: "2h",
    attempts: 3,
    probe: { type: "tcp" },
    result: true,
  },
};

for (const [id, schema] of Object.entries(COMPONENTS)) {
  const example = EXAMPLES[id];
  z.globalRegistry.add(schema, {
    ...z.globalRegistry.get(schema),
    id,
    ...(example === undefined ? {} : { examples: [example] }),
  });
}

const DESCRIPTION = `Runs QEMU virtual machines as durable jobs.

Errors are RFC 9457 problem documents with a stable \`code\`. While the queue cannot be reached, every route that needs it answers 503 with \`Retry-After\`. All answers carry \`X-Request-Id\`, under which the server's log has more.`;

/** The description of the API at /openapi.json. Register it before the routes. */
export const openapi = fp<{ readonly version: string }>(
  async (app: FastifyInstance, { version }) => {
    await app.register(fastifySwagger, {
      openapi: {
        openapi: "3.1.0",
        info: {
          title: "drover",
          version,
          description: DESCRIPTION,
          license: { name: "Apache-2.0", identifier: "Apache-2.0" },
        },
        tags: [
          { name: "VMs", description: "Submit, watch, remove and retry VMs." },
          { name: "Batches", description: "Many requests at once: submit, watch, cancel and retry them." },
          { name: "Hosts", description: "See which hosts live, and forget those that are gone for good." },
          { name: "Events", description: "What happens, as it happens." },
          { name: "Health", description: "For supervisors and load balancers." },
        ],
      },
      transform: jsonSchemaTransform,
      transformObject: (document) => finishDocument(jsonSchemaTransformObject(document)),
    });
    app.get("/openapi.json", { schema: { hide: true }, config: { access: "viewer" } }, async (_request, reply) =>
      reply.type("application/json").send(app.swagger()),
    );
  },
  { name: "openapi" },
);
