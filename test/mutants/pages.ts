import { type Mutant, tests } from "./mutant.ts";

const pages = tests("redis", "redis/http-pages");
const limits = tests("redis", "redis/http-limits");
const fuzz = tests("redis", "redis/fuzz");
const units = tests("unit", "unit/producer/pages");
const wire = tests("unit", "unit/producer/wire-format");
const fleet = tests("pages", "pages/fleet");
const away = tests("pages", "pages/away");
const operator = tests("pages", "pages/operator");
const LOGIN = "src/producer/pages/login-routes.ts";
const SAME_ORIGIN = "src/producer/pages/same-origin.ts";
const FUZZ = fuzz("10,000 malformed inputs are all refused");

/** Breaks of what stands between strangers and drover: pages, sessions, and how requests are read. */
export const PAGE_MUTANTS: readonly Mutant[] = [
  {
    name: "pages: a login may come from anywhere",
    file: LOGIN,
    before: "    assertSameOrigin(request); // else a page of others could log its reader in as somebody else\n",
    after: "",
    killers: [pages("on the word of a cookie nothing is changed: no sign where it comes from")],
    why: "a page of others could log its reader in as somebody else, and see what it then submits",
  },
  {
    name: "pages: the session before a login lives on",
    file: LOGIN,
    before: "if (former !== undefined) await sessions.end(former);",
    after: "",
    killers: [pages("a login is a new session each time")],
    why: "who had the former cookie would still be logged in",
  },
  {
    name: "pages: a logout only takes the cookie back",
    file: LOGIN,
    before: "      await gate.run(() => sessions.end(session));\n",
    after: "",
    killers: [pages("logging out ends the session on every server")],
    why: "a cookie that was copied would go on",
  },
  {
    name: "pages: a logout needs no word of its session",
    file: LOGIN,
    before: 'assertFormToken(session, LogoutForm.safeParse(request.body).data?.formToken ?? "");',
    after: "",
    killers: [pages("a form without the word of its session does nothing")],
    why: "the second proof beside the browser's own would be none",
  },
  {
    name: "pages: the cookie alone changes things",
    file: SAME_ORIGIN,
    before: "if (readSessionCookie(request) !== undefined) assertSameOrigin(request);",
    after: "readSessionCookie(request);",
    killers: [pages("on the word of a cookie nothing is changed: another site of the same family")],
    why: "a page of a neighbouring name could remove VMs",
  },
  {
    name: "pages: a login leads to another server",
    file: "src/producer/pages/next-path.ts",
    before: ' || pathname.startsWith("//")',
    after: "",
    killers: [units("wherever a login leads, it is this server")],
    why: "a link to the login could end on a page that asks for the token again",
  },
  {
    name: "pages: quotes in a page are not escaped",
    file: "src/producer/pages/html.ts",
    before: "[&<>\"']",
    after: "[&<>]",
    killers: [units("what is put into a page is text")],
    why: "a value could end its attribute and begin another one",
  },
  {
    name: "http: a request with two hosts is taken",
    file: "src/producer/request-origin.ts",
    before: "hosts.length > 1 || ",
    after: "",
    killers: [limits("what two servers could read differently is refused")],
    why: "a proxy may have let the other host pass",
  },
  {
    name: "http: a null byte reaches the dashboard",
    file: "src/producer/board.ts",
    before: "if (ESCAPED_CONTROL.test(request.url)) {",
    after: "if (ESCAPED_CONTROL.test(request.method)) {",
    killers: [FUZZ],
    why: "the fuzz has to see a 500",
  },
  {
    name: "grpc: the decoder mends messages",
    file: "src/producer/grpc/manager-service.ts",
    before: "if (!isMessage(bytes, fields))",
    after: "if (bytes.length > 0 && fields.size === 0)",
    killers: [FUZZ],
    why: "the fuzz has to see a VM made of a message that breaks off",
  },
  {
    name: "grpc: a text may end after its message",
    file: "src/producer/grpc/wire-format.ts",
    before: " || end > bytes.length",
    after: "",
    killers: [wire("a length beyond the end is no message")],
    why: "half a request would be taken for a whole one",
  },
  {
    name: "fleet page: inline scripts run",
    file: "src/producer/pages/fleet-page.ts",
    before: "script-src 'self' 'sha256-",
    after: "script-src 'self' 'unsafe-inline' 'sha256-",
    killers: [pages("the one inline text of the fleet page is its import map")],
    why: "whatever slips into the page would run with the visitor's rights",
  },
  {
    name: "fleet page: text is HTML",
    file: "src/console/html.js",
    before: "htm.bind(h);",
    after:
      'htm.bind((type, props, ...children) => (type === "pre" ? h(type, { ...props, dangerouslySetInnerHTML: { __html: children.join("") } }) : h(type, props, ...children)));',
    killers: [fleet("every view can be read and used, and shows text as text: light")],
    why: "a guest could write into the page of an operator",
  },
  {
    name: "fleet page: every event is a new reading",
    file: "src/console/refresh.js",
    before: "const APART_MS = 1_000;",
    after: "const APART_MS = 10;",
    killers: [fleet("reads each thing about once a second")],
    why: "a busy fleet would be kept busy by those who look at it",
  },
  {
    name: "fleet page: a cut stream begins anew",
    file: "src/console/event-stream.js",
    before: '...(lastId === undefined ? {} : { "last-event-id": lastId })',
    after: '...(lastId === undefined ? {} : { "x-last": lastId })',
    killers: [fleet("goes on where a cut stream was")],
    why: "what happened meanwhile would never be told",
  },
  {
    name: "fleet page: the console of a retried VM stays the old one",
    file: "src/console/parts/console-pane.js",
    before: "if (had.current && !hasEnded)",
    after: "if (had.current && hasEnded)",
    killers: [fleet("retries a VM on its own page")],
    why: "an operator would wait for output that is there",
  },
  {
    name: "fleet page: it never says that it is old",
    file: "src/console/parts/stale-banner.js",
    before: "const why = readLost ?? streamLost;",
    after: "const why = streamLost ?? undefined;",
    killers: [away("the page says that it is old")],
    why: "an operator would act on a fleet of an hour ago",
  },
  {
    name: "fleet page: rows of tables stay rows on a phone",
    file: "src/console/fleet.css",
    before: "@media (max-width: 56rem) {\n  thead {",
    after: "@media (max-width: 4rem) {\n  thead {",
    killers: [fleet("every view can be read and used, and shows text as text: phone")],
    why: "half of each row would be out of sight",
  },
  {
    name: "fleet page: a question is no dialog",
    file: "src/console/parts/action.js",
    before: "dialog.current?.showModal();",
    after: "dialog.current?.show();",
    killers: [operator("sees a failure with its cause, and retries it with the keyboard alone")],
    why: "the keyboard would go on behind the question, and Escape not close it",
  },
  {
    name: "fleet page: everybody is shown what only operators may do",
    file: "src/console/visitor.js",
    before: "return ROLES.indexOf(role) >= ROLES.indexOf(needed);",
    after: "return ROLES.includes(needed);",
    killers: [operator("a viewer sees its own and can change nothing")],
    why: "a viewer would press buttons that are always refused",
  },
];
