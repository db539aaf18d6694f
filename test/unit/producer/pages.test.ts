import fc from "fast-check";
import type { FastifyReply, FastifyRequest } from "fastify";
import { expect, test } from "vitest";
import { html } from "../../../src/producer/pages/html.ts";
import { nextPath } from "../../../src/producer/pages/next-path.ts";
import { assertFormToken, assertSameOrigin, formToken } from "../../../src/producer/pages/same-origin.ts";
import { readSessionCookie, setSessionCookie } from "../../../src/producer/pages/session-cookie.ts";

test("what is put into a page is text, whatever it is", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const { text: page } = html`<p title="${text}">${text}</p>`;
      expect(page.replace(/^<p title="|<\/p>$/g, "").replace(/">/, "")).not.toMatch(/[<>"']/);
      const shown = /^<p title="[^"]*">([^<]*)<\/p>$/.exec(page)?.[1] ?? "";
      const back = shown.replace(/&(lt|gt|quot|#39|amp);/g, (_entity, name: string) => {
        return { lt: "<", gt: ">", quot: '"', "#39": "'", amp: "&" }[name] ?? "";
      });
      expect(back).toBe(text);
    }),
  );
  expect(html`<p title="${`"'>`}">`.text).toBe('<p title="&quot;&#39;&gt;">');
  expect(html`${html`<b>${"<i>"}</b>`}${[html`<u>`, html`</u>`]}${undefined}${7}`.text).toBe(
    "<b>&lt;i&gt;</b><u></u>7",
  );
});

test.each([
  "https://evil.example/",
  "//evil.example",
  "///evil.example",
  "/\\evil.example",
  "/\\/evil.example",
  "/.//evil.example",
  "/x/..//evil.example",
  "/\t/evil.example",
  "/\n/evil.example",
  "\\evil.example",
  "javascript:alert(1)",
  "data:text/html,x",
  "evil.example",
  "/login",
  "/login?next=/login",
  "/./login",
  "/logout",
  `/${"a".repeat(600)}`,
  "",
  undefined,
  ["/board"],
])("a login does not lead to %j", (wish) => {
  expect(nextPath(wish)).toBe("/");
});

test.each(["/", "/board", "/board/queue/vm.default?status=active&page=2", "/docs", "/v1/vms?label=a%20b"])(
  "a login leads to %s",
  (wish) => {
    expect(nextPath(wish)).toBe(wish);
  },
);

test("wherever a login leads, it is this server, as a browser reads it", () => {
  const piece = fc.constantFrom(
    "/",
    "\\",
    ".",
    "..",
    "//",
    "evil.example",
    "@",
    ":",
    "?",
    "#",
    "%2f",
    "%5c",
    "\t",
    "http:",
    " ",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: "binary" }),
        fc.array(piece).map((parts) => parts.join("")),
      ),
      (wish) => {
        const { origin, pathname } = new URL(nextPath(`/${wish}`), "https://drover.example:7003/login");
        expect(origin).toBe("https://drover.example:7003");
        expect(pathname).not.toBe("/login");
      },
    ),
    { numRuns: 2_000 },
  );
});

const request = (headers: Record<string, string>, protocol = "http") =>
  ({ headers, protocol }) as unknown as FastifyRequest;

test.each([
  ["http", "drover=a", "a"],
  ["http", "x=1; drover=a ; y=2", "a"],
  ["http", "__Host-drover=b; drover=a", "b"],
  ["http", "drover=a; drover=b", undefined],
  ["http", "xdrover=a", undefined],
  ["http", "", undefined],
  ["https", "drover=a", undefined],
  ["https", "drover=a; __Host-drover=b", "b"],
  ["https", "__Host-drover=a; __Host-drover=b", undefined],
])("over %s, of the cookies %j the session is %j", (protocol, cookie, session) => {
  expect(readSessionCookie(request({ cookie }, protocol))).toBe(session);
});

test("over TLS the cookie is of the kind that no other site can set", () => {
  const set: string[] = [];
  const reply = { header: (_name: string, value: string) => set.push(value) } as unknown as FastifyReply;
  setSessionCookie(request({}, "https"), reply, "v", 60_500);
  expect(set).toEqual(["__Host-drover=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure"]);
});

test("only drover's own pages may change something with a cookie", () => {
  expect(() => assertSameOrigin(request({ "sec-fetch-site": "same-origin" }))).not.toThrow();
  expect(() => assertSameOrigin(request({ origin: "http://localhost:7003" }))).not.toThrow(); // ours, or refused before
  for (const site of ["cross-site", "same-site", "none", ""])
    expect(() => assertSameOrigin(request({ "sec-fetch-site": site }))).toThrow(
      expect.objectContaining({ code: "csrf_failed" }),
    );
  expect(() => assertSameOrigin(request({}))).toThrow(expect.objectContaining({ code: "csrf_failed" }));
});

test("the word of a form belongs to its session", () => {
  expect(() => assertFormToken("a", formToken("a"))).not.toThrow();
  for (const word of ["", formToken("b"), `${formToken("a")}x`, formToken("a").slice(1), "é".repeat(43)])
    expect(() => assertFormToken("a", word)).toThrow(expect.objectContaining({ code: "csrf_failed" }));
});
