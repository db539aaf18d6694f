import { readFileSync } from "node:fs";
import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { CAUSE_CODES } from "../../../src/contract/causes.ts";
import { DroverError, ERROR_CATALOGUE, type ErrorCode } from "../../../src/contract/errors.ts";
import { ANSWER_METADATA, CALL_METADATA } from "../../../src/contract/grpc-metadata.ts";
import {
  CAUSE_STATUSES,
  CallEnded,
  ERROR_STATUSES,
  toMetadata,
  toStatus,
} from "../../../src/producer/grpc/grpc-status.ts";

/** Those that cocos-cli shows as they are, and the one that says nothing but an id. */
const SHOWN = ["NOT_FOUND", "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "DEADLINE_EXCEEDED"];
const ALLOWED = [...SHOWN, "UNAUTHENTICATED", "INTERNAL"];

describe("statuses", () => {
  test("every error code and every cause has one that cocos-cli shows", () => {
    expect(Object.keys(ERROR_STATUSES).sort()).toEqual(Object.keys(ERROR_CATALOGUE).sort());
    expect(Object.keys(CAUSE_STATUSES).sort()).toEqual([...CAUSE_CODES].sort());
    for (const code of [...Object.values(ERROR_STATUSES), ...Object.values(CAUSE_STATUSES)])
      expect(ALLOWED).toContain(status[code]);
  });

  test.each(Object.keys(ERROR_CATALOGUE) as ErrorCode[])("%s keeps its text, or all of it to itself", (code) => {
    const { code: grpcCode, details, metadata } = toStatus(new DroverError(code, "the text"), "request-1");
    if (grpcCode === status.INTERNAL)
      expect(details).toBe("something went wrong on this server; its log says more under request id request-1");
    else expect(details).toBe("the text");
    expect(metadata.getMap()).toEqual({ "drover-code": code, "drover-request-id": "request-1" });
  });

  test("what nobody foresaw tells nothing but the request id", () => {
    const { code, details } = toStatus(new Error("secret at /etc/x"), "request-1");
    expect([code, details]).toEqual([status.INTERNAL, expect.not.stringContaining("secret")]);
  });

  test("a text is bounded and can be sent, whatever stands in it", () => {
    const long = new CallEnded(status.NOT_FOUND, `${"🐂".repeat(3_000)}\ud83d`, {});
    const { details } = toStatus(long, "request-1");
    expect([...details]).toHaveLength(2_000);
    expect(() => encodeURI(details)).not.toThrow();
    expect(toStatus(new CallEnded(status.NOT_FOUND, "a\ud83d", {}), "r").details).toBe("a\ufffd");
  });

  test("facts are one line of visible ASCII each", () => {
    expect(toMetadata({ state: "a\r\nx: ü" }).getMap()).toEqual({ "drover-state": "a??x: ?" });
  });
});

test("docs/grpc.md names every piece of metadata and every status, and no other", () => {
  const doc = readFileSync("docs/grpc.md", "utf8");
  const metadata = [...Object.values(CALL_METADATA), ...Object.values(ANSWER_METADATA)];
  const named = doc.matchAll(/`(drover-[a-z-]+|idempotency-key)`/g);
  expect(new Set([...named].map(([, name]) => name))).toEqual(new Set(metadata));
  const statuses = doc.matchAll(/^\| `([A-Z_]+)` \|/gm);
  expect([...statuses].map(([, name]) => name).sort()).toEqual([...ALLOWED].sort());
});
