import { expect, test } from "vitest";
import { DroverError } from "../../../src/contract/errors.ts";
import { type AllowedOrigins, checkOrigin, type RequestOrigin } from "../../../src/producer/request-origin.ts";

const ALLOWED: AllowedOrigins = {
  listenHost: "192.0.2.7",
  hosts: ["drover.example", "[2001:db8::1]"],
  origins: ["https://ops.example"],
};
const REQUEST: RequestOrigin = {
  method: "POST",
  protocol: "http",
  host: "127.0.0.1:7003",
  origin: undefined,
  fetchSite: undefined,
  fetchMode: undefined,
  localAddress: "127.0.0.1",
};

function codeOf(request: Partial<RequestOrigin>, allowed: Partial<AllowedOrigins> = {}): string {
  try {
    checkOrigin({ ...REQUEST, ...request }, { ...ALLOWED, ...allowed });
    return "allowed";
  } catch (error) {
    if (error instanceof DroverError) return error.code;
    throw error;
  }
}

test.each([
  "127.0.0.1:7003",
  "127.0.0.1",
  "127.8.9.10:1",
  "localhost:7003",
  "LOCALHOST",
  "[::1]:7003",
  "192.0.2.7:7003",
  "drover.example",
  "DROVER.example:443",
  "[2001:db8::1]:7003",
])("Host %s means this server", (host) => {
  expect(codeOf({ host })).toBe("allowed");
});

test.each([
  undefined,
  "",
  "evil.example",
  "evil.example:7003",
  "localhost.evil.example",
  "127.0.0.1.evil.example",
  "0.0.0.0:7003",
  "[::]:7003",
  "198.51.100.1",
  "drover.example.evil.example",
  "user@localhost",
  "localhost/path",
  "localhost evil",
  "a".repeat(300),
])("Host %s does not", (host) => {
  expect(codeOf({ host })).toBe("host_not_allowed");
});

test("a listener on all addresses answers for the address that was called, and for no other", () => {
  const everywhere = { listenHost: "0.0.0.0" };
  expect(codeOf({ host: "198.51.100.1:7003", localAddress: "198.51.100.1" }, everywhere)).toBe("allowed");
  expect(codeOf({ host: "198.51.100.1:7003", localAddress: "::ffff:198.51.100.1" }, everywhere)).toBe("allowed");
  expect(codeOf({ host: "198.51.100.2:7003", localAddress: "198.51.100.1" }, everywhere)).toBe("host_not_allowed");
  expect(codeOf({ host: "0.0.0.0:7003", localAddress: "198.51.100.1" }, everywhere)).toBe("host_not_allowed");
});

test.each([
  ["http://127.0.0.1:7003", "allowed"],
  ["https://ops.example", "allowed"],
  ["https://127.0.0.1:7003", "origin_not_allowed"],
  ["http://127.0.0.1:3000", "origin_not_allowed"],
  ["http://localhost:7003", "origin_not_allowed"],
  ["https://evil.example", "origin_not_allowed"],
  ["https://ops.example.evil.example", "origin_not_allowed"],
  ["null", "origin_not_allowed"],
  ["", "origin_not_allowed"],
])("Origin %s is %s, whatever the method", (origin, expected) => {
  expect(codeOf({ origin })).toBe(expected);
  expect(codeOf({ origin, method: "GET" })).toBe(expected);
});

test("a default port may be left out of Host or Origin", () => {
  expect(codeOf({ host: "drover.example:80", origin: "http://drover.example" })).toBe("allowed");
  expect(codeOf({ host: "drover.example:443", origin: "https://drover.example", protocol: "https" })).toBe("allowed");
});

test.each([
  ["POST", "cors", "origin_not_allowed"],
  ["DELETE", "no-cors", "origin_not_allowed"],
  ["POST", "navigate", "origin_not_allowed"],
  ["GET", "no-cors", "origin_not_allowed"],
  ["GET", "navigate", "allowed"],
])("a browser's cross-site %s with mode %s is %s even without an Origin", (method, fetchMode, expected) => {
  expect(codeOf({ method, fetchMode, fetchSite: "cross-site" })).toBe(expected);
});

test.each(["same-origin", "none", "same-site", undefined])("sec-fetch-site %s alone refuses nothing", (fetchSite) => {
  expect(codeOf({ fetchSite })).toBe("allowed");
});

test("an allowed origin may call across sites", () => {
  expect(codeOf({ origin: "https://ops.example", fetchSite: "cross-site", fetchMode: "cors" })).toBe("allowed");
});
