import { createBullBoard } from "@bull-board/api";
import { BullMQAdapter } from "@bull-board/api/bullMQAdapter";
import { FastifyAdapter } from "@bull-board/fastify";
import type { FastifyInstance, RouteOptions } from "fastify";
import { DroverError } from "../contract/errors.ts";
import type { VmQueue } from "../queue/vm-queue.ts";
import { showData, showProgress, showReturnValue } from "./board-fields.ts";
import { replyWithProblem } from "./error-reply.ts";
import type { RedisGate } from "./redis-gate.ts";

const BOARD_PATH = "/board";
const POLL_S = 5;
/** Pools and hosts that appeared elsewhere are looked for this often, and only while somebody looks at the page. */
const DISCOVER_EVERY_MS = 1_000;
/** Bull Board fails on a null byte in a query; none of its addresses has a control character. */
const ESCAPED_CONTROL = /%[01][0-9a-f]/i;

type BoardQueue = ReturnType<VmQueue["boardQueues"]>[number];

/** Bull Board, for looking only: its own buttons would act on live VMs behind drover's back. */
export async function boardPages(
  app: FastifyInstance,
  { queue, gate }: { readonly queue: VmQueue; readonly gate: RedisGate },
): Promise<void> {
  const server = new FastifyAdapter();
  server.setBasePath(BOARD_PATH);
  const board = createBullBoard({
    queues: [],
    serverAdapter: server,
    options: {
      uiConfig: {
        boardTitle: "drover",
        miscLinks: [
          { text: "Fleet, log out", url: "/" },
          { text: "API", url: "/docs" },
        ],
        hideDocsLink: true,
        jobDetails: { defaultTab: "Progress" }, // the VM's state as it is now
        showWorkers: false, // saves a CLIENT LIST per poll; drover's workers are no BullMQ processors
        pollingInterval: { showSetting: true, forceInterval: POLL_S },
      },
    },
  });
  const showQueues = () => {
    board.replaceQueues([]); // it keeps the order in which it got to know them
    board.replaceQueues(inOrder(queue.boardQueues()).map(toAdapter));
  };
  showQueues();
  queue.onQueuesChanged(showQueues);

  let discoveredAtMs = Number.NEGATIVE_INFINITY;
  app.addHook("onRequest", async (request) => {
    if (request.method !== "GET" && request.method !== "HEAD") {
      throw new DroverError(
        "method_not_allowed",
        "the dashboard is for looking only; remove and retry VMs through /v1/vms",
      );
    }
    if (ESCAPED_CONTROL.test(request.url)) {
      throw new DroverError("invalid_request", "the address holds a control character");
    }
    if (performance.now() - discoveredAtMs < DISCOVER_EVERY_MS || !isBoardApi(request.url)) return;
    discoveredAtMs = performance.now();
    await gate.run(() => queue.discover());
  });
  app.addHook("onRoute", (route) => guardRoute(route, gate));
  await app.register(server.registerPlugin(), { prefix: BOARD_PATH });
}

function isBoardApi(url: string): boolean {
  return url.startsWith(`${BOARD_PATH}/api/`);
}

/** The board's own error replies quote errors, and its calls hang while Redis is away; ours do neither. */
function guardRoute(route: RouteOptions, gate: RedisGate): void {
  route.errorHandler = (error, request, reply) => replyWithProblem(error, request, reply);
  route.schema = { hide: true };
  if (!isBoardApi(route.url)) return;
  const { handler } = route;
  route.handler = function guarded(request, reply) {
    return gate.run(async () => handler.call(this, request, reply));
  };
}

/** The pools first, then the hosts, each by name: where somebody looks for one. */
function inOrder(queues: readonly BoardQueue[]): readonly BoardQueue[] {
  const byName = (a: BoardQueue, b: BoardQueue) => (a.name < b.name ? -1 : 1);
  return [...queues].sort((a, b) => Number(isOfHost(a)) - Number(isOfHost(b)) || byName(a, b));
}

function isOfHost({ name }: BoardQueue): boolean {
  return name.startsWith("vm-remove.");
}

function toAdapter(queue: BoardQueue): BullMQAdapter {
  const isRemovals = isOfHost(queue);
  const adapter = new BullMQAdapter(queue, {
    readOnlyMode: true,
    allowRetries: false,
    description: isRemovals
      ? "Tells this host to look at a removal, or at what is wanted of it"
      : "VMs of this pool: Active are those that run",
    // Hosts fold into one group; in an id that has dots itself every dot would open another.
    delimiter: isRemovals && queue.name.split(".").length === 2 ? "." : "",
    externalJobUrl: (job) => vmPage(job.data),
  });
  adapter.setFormatter("data", showData);
  adapter.setFormatter("progress", showProgress);
  adapter.setFormatter("returnValue", showReturnValue);
  return adapter;
}

/** Drover's own page of a job's VM. A job that is of no VM leads to all of them. */
function vmPage(data: unknown): { displayText: string; href: string } {
  if (typeof data !== "object" || data === null || !("vmId" in data) || typeof data.vmId !== "string")
    return { displayText: "Open the fleet", href: "/" };
  return { displayText: "Open the VM", href: `/vms/${encodeURIComponent(data.vmId)}` };
}
