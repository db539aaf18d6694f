import type { Metadata } from "@grpc/grpc-js";
import { DroverError, type FieldProblem } from "../../contract/errors.ts";
import { CALL_METADATA } from "../../contract/grpc-metadata.ts";
import { VmRequest } from "../../contract/vm-request.ts";
import { readIdempotencyKey } from "../idempotency.ts";
import type { Submission } from "../submit-vm.ts";
import { checkRequest } from "../validation.ts";
import type { CreateReq } from "./manager-service.ts";

/** Text that a decoder puts in place of bytes that are no UTF-8. */
const REPLACEMENT = "\ufffd";
const PEM_BEGIN = "-----BEGIN ";

/**
 * The request of HTTP out of Cocos's message, and out of metadata what the message has no field for. What is
 * empty counts as not sent. Throws `invalid_request` with all that is wrong, before anything is queued.
 */
export function readCreateRequest(message: CreateReq, metadata: Metadata): Submission {
  const idempotencyKey = readIdempotencyKey(onlyValue(metadata, CALL_METADATA.idempotencyKey));
  const fields = Object.entries(message).flatMap(([field, value]: [string, string | Buffer]) =>
    value.length === 0 ? [] : [[field, typeof value === "string" ? value : fileText(value)] as const],
  );
  refuseBrokenText(fields);
  const name = onlyValue(metadata, CALL_METADATA.name);
  const pool = onlyValue(metadata, CALL_METADATA.pool);
  const priority = onlyValue(metadata, CALL_METADATA.priority);
  const labels = readLabels(metadata);
  const request = checkRequest(VmRequest, {
    ...Object.fromEntries(fields),
    ...(name === undefined ? {} : { name }),
    ...(pool === undefined ? {} : { pool }),
    ...(priority === undefined ? {} : { priority }),
    ...(labels === undefined ? {} : { labels }),
  });
  return { request, idempotencyKey };
}

/** The bytes of a file as a request has them: PEM text where they are that, else base64. */
function fileText(bytes: Buffer): string {
  const text = bytes.toString("utf8");
  return text.startsWith(PEM_BEGIN) && Buffer.from(text, "utf8").equals(bytes) ? text : bytes.toString("base64");
}

function refuseBrokenText(fields: readonly (readonly [string, string])[]): void {
  const broken = fields.filter(([, value]) => value.includes(REPLACEMENT));
  if (broken.length === 0) return;
  throw invalid(broken.map(([field]) => ({ field, message: "must be UTF-8 text" })));
}

function readLabels(metadata: Metadata): Readonly<Record<string, string>> | undefined {
  const pairs = metadata.get(CALL_METADATA.label).map(String);
  if (pairs.length === 0) return undefined;
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf("=");
      if (at === -1) throw invalid([{ field: CALL_METADATA.label, message: "must be name=value" }]);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

/** The value of metadata that may be sent once. An empty one counts as not sent. */
function onlyValue(metadata: Metadata, name: string): string | undefined {
  const values = metadata.get(name).map(String);
  if (values.length > 1) throw invalid([{ field: name, message: "is sent several times" }]);
  return values[0] === "" ? undefined : values[0];
}

function invalid(problems: readonly FieldProblem[]): DroverError {
  const detail = problems.map(({ field, message }) => `${field}: ${message}`).join("; ");
  return new DroverError("invalid_request", detail, { problems });
}
