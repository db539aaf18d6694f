import type { IncomingMessage, Server, ServerResponse } from "node:http";

/** However steadily it comes, the body of an upload is cut after this. */
export const UPLOAD_MAX_MS = 15 * 60_000;

/** What a request is refused with whose body does not arrive in time, as Node's own check does it. */
const OVERDUE = Object.assign(new Error("the body did not arrive in time"), { code: "ERR_HTTP_REQUEST_TIMEOUT" });

/** Whether a request brings many others, so that it may take longer than those and has bounds of its own. */
function isUpload({ method, url = "" }: IncomingMessage): boolean {
  return method === "POST" && url.split("?", 1)[0] === "/v1/batches";
}

/**
 * Bounds the time in which a body must arrive. Node knows one limit for all requests of a server, which must be that of
 * the longest; so those of the others are watched here.
 */
export function boundBodies(server: Server, limitMs: number): void {
  if (limitMs === 0) return;
  server.prependListener("request", (request: IncomingMessage, response: ServerResponse) => {
    const { headers } = request;
    const hasBody = headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
    if (!hasBody || isUpload(request)) return;
    const timer = setTimeout(() => {
      if (!request.complete) server.emit("clientError", OVERDUE, request.socket);
    }, limitMs);
    response.once("close", () => clearTimeout(timer));
  });
}
