import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { ERROR_CATALOGUE, type ErrorCode, type FieldProblem } from "../../../src/contract/errors.ts";
import { HostDetail, HostForgotten, HostList } from "../../../src/contract/host-view.ts";
import { CloudEvent, type VmEventType } from "../../../src/contract/vm-event.ts";
import { VmRequest } from "../../../src/contract/vm-request.ts";
import { VmAccepted, VmDetail, VmView } from "../../../src/contract/vm-view.ts";

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** What a test wants instead of the usual answer; undefined: the usual one. */
export type Override = (request: SeenRequest, response: ServerResponse) => boolean | undefined;

/** A VM as the API shows it, all fields set to something plain. */
export function vmDetail(changes: Partial<VmDetail> = {}): VmDetail {
  return VmDetail.parse({
    id: randomUUID(),
    state: "queued",
    owner: "local",
    pool: "default",
    priority: "normal",
    spec: {},
    hasSecrets: false,
    epoch: 0,
    attempts: { made: 0, max: 3 },
    host: null,
    hostStatus: null,
    address: null,
    tee: null,
    accel: null,
    hostData: null,
    gpu: null,
    createdAt: "2026-11-23T19:00:00.000Z",
    stateSince: "2026-11-23T19:00:00.000Z",
    runningAt: null,
    readyAt: null,
    endedAt: null,
    retryAt: null,
    expiresAt: null,
    removal: null,
    endReason: null,
    unverified: false,
    cause: null,
    result: null,
    command: null,
    launches: [],
    tail: null,
    ...changes,
  });
}

/** A host as the API shows it, alive and plain. */
export function hostDetail(changes: Partial<HostDetail> = {}): HostDetail {
  return HostDetail.parse({
    id: "host-a",
    status: "live",
    vms: 0,
    slots: 4,
    policy: { lost: "rerun", lostAfterMs: 300_000, onPartition: "keep" },
    admission: {
      state: "open",
      since: null,
      by: null,
      note: null,
      evacuatesAt: null,
      heeded: true,
      done: false,
      held: 0,
    },
    breaker: null,
    leaseLeftMs: 27_000,
    seenAt: "2026-11-23T19:01:57.000Z",
    silentSince: null,
    awayUntil: null,
    version: "1.2.3",
    address: "10.0.0.1",
    pools: ["default"],
    serves: ["default", "@host-a"],
    ports: { first: 6100, last: 6200 },
    portsTaken: 0,
    tee: "none",
    accel: "kvm",
    memory: { totalBytes: 256 * 2 ** 30, reservedBytes: 8 * 2 ** 30, freeBytes: 200 * 2 ** 30 },
    memoryClasses: { large: 64 * 2 ** 30 },
    labels: { zone: "a" },
    room: { slots: 4, ports: 101, teeKeys: null, gpu: false },
    gpu: null,
    machine: {
      cpu: "AMD EPYC 9354",
      cores: 64,
      kernel: "6.12.43",
      qemu: "10.0.3",
      bootedAt: "2026-11-20T19:02:00.000Z",
    },
    metrics: null,
    startedAt: "2026-11-23T18:00:00.000Z",
    vmIds: [],
    ...changes,
  });
}

/** A small server that speaks the contract: what it sends is checked by the same schemas. */
export class FakeApi implements AsyncDisposable {
  readonly seen: SeenRequest[] = [];
  readonly vms = new Map<string, VmDetail>();
  readonly hosts = new Map<string, HostDetail>();
  override: Override = () => undefined;
  /** What every submit is told. */
  warnings: VmAccepted["warnings"] = [];
  /** Console text by VM. */
  readonly consoles = new Map<string, string>();
  readonly #server = createServer((request, response) => void this.#handle(request, response));
  readonly #streams = new Set<ServerResponse>();
  readonly #events: { readonly id: string; readonly event: CloudEvent }[] = [];
  #onSubmit: (vm: VmDetail) => void = () => undefined;

  static async start(): Promise<FakeApi> {
    const api = new FakeApi();
    await new Promise<void>((resolve) => api.#server.listen(0, "127.0.0.1", resolve));
    return api;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("not listening");
    return `http://127.0.0.1:${address.port}`;
  }

  get openStreams(): number {
    return this.#streams.size;
  }

  add(changes: Partial<VmDetail> = {}): VmDetail {
    const vm = vmDetail(changes);
    this.vms.set(vm.id, vm);
    return vm;
  }

  /** What becomes of every VM that is submitted. */
  afterSubmit(story: (vm: VmDetail) => void): void {
    this.#onSubmit = story;
  }

  change(id: string, changes: Partial<VmDetail>): void {
    const vm = this.vms.get(id);
    if (vm !== undefined) this.vms.set(id, VmDetail.parse({ ...vm, ...changes }));
  }

  emit(subject: string, type: VmEventType, data: Record<string, unknown>): void {
    const sequence = String(this.#events.filter(({ event }) => event.subject === subject).length + 1);
    const event = CloudEvent.parse({
      specversion: "1.0",
      id: `${subject}/${sequence}`,
      source: "/drover/vms",
      type,
      subject,
      time: new Date(Date.UTC(2026, 10, 23, 19, 0, this.#events.length)).toISOString(),
      datacontenttype: "application/json",
      sequence,
      owner: "local",
      data,
    });
    const id = `${1000 + this.#events.length}-0`;
    this.#events.push({ id, event });
    for (const stream of this.#streams) stream.write(frame(id, event));
  }

  /** Ends all open event streams as a server does that cuts slow readers. */
  cutStreams(): void {
    for (const stream of this.#streams) stream.destroy();
  }

  sendRaw(text: string): void {
    for (const stream of this.#streams) stream.write(text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(Buffer.from(chunk));
    const url = new URL(request.url ?? "/", this.url);
    const { method = "GET", headers } = request;
    const seen = {
      method,
      path: url.pathname,
      query: url.searchParams,
      headers,
      body: Buffer.concat(chunks).toString(),
    };
    this.seen.push(seen);
    if (this.override(seen, response) === true) return;
    const [, , , id = "", action] = url.pathname.split("/");
    if (url.pathname === "/v1/events") return this.#openStream(seen, response);
    if (url.pathname.startsWith("/v1/hosts")) return this.#hosts(seen, { id, action }, response);
    if (url.pathname === "/v1/vms" && method === "POST") return this.#submit(seen, response);
    if (url.pathname === "/v1/vms") return this.#list(seen, response);
    const vm = this.vms.get(id);
    if (vm === undefined) return sendProblem(response, "vm_not_found", `there is no VM ${id}`);
    if (action === "console")
      return void response.writeHead(200, { "content-type": "text/plain" }).end(this.consoles.get(id) ?? "");
    if (action === "retry" && vm.state !== "failed")
      return sendProblem(response, "not_retryable", `the VM is ${vm.state}`);
    if (action === "retry") this.change(id, { state: "queued" });
    if (method === "DELETE") this.change(id, { state: "removed" });
    const { tail: _tail, forensics: _forensics, ...view } = this.vms.get(id) ?? vm;
    sendJson(response, method === "GET" ? 200 : 202, method === "GET" ? vm : VmView.parse(view));
  }

  #hosts(
    { method, query }: SeenRequest,
    { id, action }: { id: string; action: string | undefined },
    response: ServerResponse,
  ): void {
    const host = this.hosts.get(id);
    if (id === "") {
      const items = [...this.hosts.values()].map(({ vmIds: _vmIds, ...view }) => view);
      sendJson(response, 200, HostList.parse({ items }));
    } else if (host === undefined) {
      sendProblem(response, "host_not_found", `there is no host ${id}`);
    } else if (method === "GET") {
      sendJson(response, 200, host);
    } else if (action !== undefined) {
      const states = { cordon: "cordoned", drain: "draining", evacuate: "evacuating", resume: "open" } as const;
      const state = states[action as keyof typeof states]; // the command line asks for nothing else
      const said = { since: "2026-11-23T19:00:00.000Z", by: "local", note: query.get("note") };
      this.hosts.set(id, HostDetail.parse({ ...host, admission: { ...host.admission, ...said, state } }));
      sendJson(response, 200, this.hosts.get(id));
    } else if (host.status === "live") {
      sendProblem(response, "host_alive", `host ${id} lives`);
    } else {
      this.hosts.delete(id);
      sendJson(response, 200, HostForgotten.parse({ id, requeued: host.vmIds, removed: [], failed: [] }));
    }
  }

  #submit(seen: SeenRequest, response: ServerResponse): void {
    const request = VmRequest.safeParse(JSON.parse(seen.body));
    if (!request.success) {
      sendProblem(response, "invalid_request", "the fake refuses it");
      return;
    }
    const { name, labels, ttl, priority } = request.data;
    const vm = this.add({
      priority: priority ?? "normal",
      spec: { ...(name && { name }), ...(labels && { labels }), ...(ttl && { ttl }) },
    });
    this.emit(vm.id, "vm.queued", { pool: "default", reason: "accepted" });
    const { tail: _tail, forensics: _forensics, ...view } = vm;
    sendJson(response, 202, VmAccepted.parse({ ...view, replayed: false, warnings: this.warnings }));
    setImmediate(() => this.#onSubmit(vm));
  }

  #list({ query }: SeenRequest, response: ServerResponse): void {
    const states = query.getAll("state");
    const all = [...this.vms.values()].filter((vm) => states.length === 0 || states.includes(vm.state));
    const from = Number(query.get("cursor") ?? 0);
    const to = from + Number(query.get("limit") ?? 50);
    const items = all.slice(from, to).map(({ tail: _tail, forensics: _forensics, ...view }) => VmView.parse(view));
    sendJson(response, 200, { items, next: to < all.length ? String(to) : null });
  }

  #openStream(seen: SeenRequest, response: ServerResponse): void {
    const last = seen.headers["last-event-id"];
    const vms = seen.query.getAll("vm");
    response.writeHead(200, { "content-type": "text/event-stream" });
    const missed =
      last === undefined
        ? []
        : this.#events.filter(({ id }) => Number.parseInt(id, 10) > Number.parseInt(String(last), 10));
    const position = this.#events.at(-1)?.id ?? "0";
    response.write(`retry: 2000\nid: ${last ?? position}\n\n`);
    for (const { id, event } of missed)
      if (vms.length === 0 || vms.includes(event.subject)) response.write(frame(id, event));
    this.#streams.add(response);
    response.on("close", () => this.#streams.delete(response));
  }
}

function frame(id: string, event: CloudEvent): string {
  return `id: ${id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

export function sendProblem(
  response: ServerResponse,
  code: ErrorCode,
  detail: string,
  problems?: readonly FieldProblem[],
): void {
  const { status, title } = ERROR_CATALOGUE[code];
  const problem = {
    type: `https://drover.invalid/${code}`,
    title,
    status,
    code,
    detail,
    requestId: "req-1",
    ...(problems && { problems }),
  };
  response.writeHead(status, { "content-type": "application/problem+json" }).end(JSON.stringify(problem));
}
