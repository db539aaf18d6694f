import type { FastifyReply, FastifyRequest } from "fastify";
import type { VmRecord } from "../contract/vm-record.ts";
import type { ApiDeps } from "./api-deps.ts";
import { readPreferWaitS } from "./prefer.ts";
import { allowSilence } from "./silent-socket.ts";
import { waitForVm } from "./wait-for-vm.ts";

/** Requests that wait at the same time; one more is answered at once, as RFC 7240 lets a server do. */
const WAITING_MAX = 1_000;

export interface PreferredWait {
  readonly request: Pick<FastifyRequest, "headers">;
  readonly reply: FastifyReply;
  readonly record: VmRecord;
  readonly until: (record: VmRecord) => boolean;
}

/** Honours `Prefer: wait=N`: gives the record when it has got there, or as it is when the time or the client is over. */
export async function waitAsPreferred(
  deps: ApiDeps,
  { request, reply, record, until }: PreferredWait,
): Promise<VmRecord> {
  const waitS = readPreferWaitS(request.headers["prefer"]);
  if (waitS === undefined || deps.watch.size >= WAITING_MAX) return record;
  reply.header("preference-applied", `wait=${waitS}`);
  const gone = new AbortController();
  const onClose = () => gone.abort();
  reply.raw.once("close", onClose);
  allowSilence(reply);
  try {
    return await waitForVm(deps, { record, until, timeoutMs: waitS * 1000, signal: gone.signal });
  } finally {
    reply.raw.off("close", onClose);
  }
}
