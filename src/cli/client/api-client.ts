import { z } from "zod";
import { FailureList, FailuresDismissed, FailuresRetried } from "../../contract/failure-view.ts";
import { HostDetail, HostForgotten, HostList } from "../../contract/host-view.ts";
import type { VmRequest } from "../../contract/vm-request.ts";
import { VmAccepted, VmDetail, VmList, VmView } from "../../contract/vm-view.ts";
import { type ApiTarget, callApi, openStream } from "./api-request.ts";

/** What a list may be narrowed by. All parts must fit. */
export interface ListFilter {
  readonly state?: readonly string[];
  readonly pool?: string;
  readonly host?: string;
  readonly owner?: string;
  readonly cause?: string;
  readonly label?: readonly string[];
  readonly limit?: number;
  readonly cursor?: string;
}

/** What failures may be narrowed by. All parts must fit. */
export interface FailureFilter {
  readonly cause?: string | undefined;
  readonly host?: string | undefined;
  readonly owner?: string | undefined;
  readonly since?: string | undefined;
}

/** Whose failures of a group, and where the step before has ended. */
type FailureStepOf = { readonly owner: string | undefined; readonly cursor: string | undefined };

/** The API replies to an action with the VM as it is afterwards, with or without its last lines. */
const VmAfterAction = z.union([VmView, VmDetail]);
export type VmAfterAction = z.infer<typeof VmAfterAction>;

/** What `GET /health` says, in the shape of the Cocos manager. */
const Health = z.object({ status: z.string(), version: z.string(), commit: z.string(), instance_id: z.string() });
export type Health = z.infer<typeof Health>;

/** The HTTP API, one function for each thing that can be asked. */
export class ApiClient {
  readonly target: ApiTarget;

  constructor(target: ApiTarget) {
    this.target = target;
  }

  submit(request: VmRequest, idempotencyKey: string): Promise<VmAccepted> {
    const headers = { "idempotency-key": idempotencyKey };
    return callApi(this.target, { method: "POST", path: "v1/vms", body: request, headers }, VmAccepted);
  }

  list(filter: ListFilter): Promise<VmList> {
    return callApi(this.target, { path: "v1/vms", query: { ...filter } }, VmList);
  }

  get(id: string): Promise<VmDetail> {
    return callApi(this.target, { path: vmPath(id) }, VmDetail);
  }

  remove(id: string): Promise<VmAfterAction> {
    return callApi(this.target, { method: "DELETE", path: vmPath(id) }, VmAfterAction);
  }

  retry(id: string): Promise<VmAfterAction> {
    return callApi(this.target, { method: "POST", path: `${vmPath(id)}/retry` }, VmAfterAction);
  }

  hosts(): Promise<HostList> {
    return callApi(this.target, { path: "v1/hosts" }, HostList);
  }

  host(id: string): Promise<HostDetail> {
    return callApi(this.target, { path: hostPath(id) }, HostDetail);
  }

  wishOfHost(
    id: string,
    what: "cordon" | "drain" | "evacuate" | "resume",
    query: { readonly note?: string | undefined; readonly timeout?: string | undefined },
  ): Promise<HostDetail> {
    return callApi(this.target, { method: "POST", path: `${hostPath(id)}/${what}`, query }, HostDetail);
  }

  forgetHost(id: string): Promise<HostForgotten> {
    return callApi(this.target, { method: "DELETE", path: hostPath(id) }, HostForgotten);
  }

  failures(filter: FailureFilter): Promise<FailureList> {
    return callApi(this.target, { path: "v1/failures", query: { ...filter } }, FailureList);
  }

  retryFailures(group: string, query: FailureStepOf): Promise<FailuresRetried> {
    return callApi(this.target, { method: "POST", path: `${failurePath(group)}/retry`, query }, FailuresRetried);
  }

  dismissFailures(group: string, query: FailureStepOf): Promise<FailuresDismissed> {
    return callApi(this.target, { method: "POST", path: `${failurePath(group)}/dismiss`, query }, FailuresDismissed);
  }

  health(): Promise<Health> {
    return callApi(this.target, { path: "health" }, Health);
  }

  /** The VM's attestation policy: a CoRIM, signed or not, as the API gives it. */
  async attestationPolicy(id: string): Promise<Uint8Array> {
    const headers = { accept: "application/rim+cbor, application/rim+cose, application/problem+json" };
    const chunks: Uint8Array[] = [];
    const path = `${vmPath(id)}/attestation-policy`;
    for await (const chunk of await openStream(this.target, { path, headers })) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  /** The guest's own output: what is kept of it, and with `follow` what comes until the VM has ended. */
  async *console(
    id: string,
    options: { readonly follow: boolean; readonly bytes?: number | undefined },
  ): AsyncGenerator<Uint8Array> {
    const query = { ...(options.follow ? { follow: "true" } : {}), bytes: options.bytes };
    const headers = { accept: "text/plain, application/problem+json" };
    yield* await openStream(this.target, { path: `${vmPath(id)}/console`, query, headers });
  }
}

function vmPath(id: string): string {
  return `v1/vms/${encodeURIComponent(id)}`;
}

function failurePath(group: string): string {
  return `v1/failures/${encodeURIComponent(group)}`;
}

function hostPath(id: string): string {
  return `v1/hosts/${encodeURIComponent(id)}`;
}
