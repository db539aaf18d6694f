import type { FastifyInstance } from "fastify";
import fp from "fastify-plugin";
import { DroverError } from "../contract/errors.ts";

/** While the server shuts down: new requests are refused, and no connection is kept for a next one. */
export const closingReply = fp<{ readonly closing: AbortSignal }>(
  async (app: FastifyInstance, { closing }) => {
    app.addHook("onRequest", async () => {
      if (closing.aborted)
        throw new DroverError("shutting_down", "this server is shutting down; ask another one, or again in a moment");
    });
    app.addHook("onSend", async (_request, reply) => {
      if (closing.aborted) reply.header("connection", "close");
    });
  },
  { name: "closing-reply" },
);
