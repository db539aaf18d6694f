import { createHash } from "node:crypto";
import type { FastifyReply } from "fastify";
import type { ConsoleFiles } from "./console-files.ts";
import { Html, html } from "./html.ts";
import { STYLE_PATH, whoIsHere } from "./page.ts";
import type { Visitor } from "./visitor.ts";

/** Every address of the page gets the same document; its script shows what the address names. */
export const FLEET_PATHS = [
  "/",
  "/vms",
  "/vms/:id",
  "/batches",
  "/batches/:id",
  "/hosts",
  "/hosts/:id",
  "/failures",
  "/submit",
] as const;

/** The page to the operators, as a function of who looks. What never changes is made once. */
export function fleetPage({ base, files, importMap }: ConsoleFiles): {
  send(reply: FastifyReply, visitor: Visitor): FastifyReply;
} {
  const policy = policyOf(importMap);
  const modules = [...files.keys()].filter((name) => name.endsWith(".js"));
  const head = html`<script type="importmap">${new Html(importMap)}</script>
<script type="module" src="${base}/main.js"></script>
${modules.map((name) => html`<link rel="modulepreload" href="${base}/${name}">`)}
<link rel="stylesheet" href="${STYLE_PATH}">
<link rel="stylesheet" href="${base}/fleet.css">`;
  return {
    send: (reply, visitor) =>
      reply
        .code(200)
        .type("text/html; charset=utf-8")
        .header("content-security-policy", policy)
        .send(layout(head, visitor).text),
  };
}

/**
 * Scripts of this server, and of inline ones only the import map, by its digest. No text becomes HTML or script in the
 * browser either (trusted types).
 */
function policyOf(importMap: string): string {
  const digest = createHash("sha256").update(importMap).digest("base64");
  return [
    "default-src 'none'",
    `script-src 'self' 'sha256-${digest}'`,
    "style-src 'self'",
    "img-src data:",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; ");
}

function layout(head: Html, visitor: Visitor): Html {
  const { role } = visitor.principal;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>drover</title>
<link rel="icon" href="data:,">
${head}
</head>
<body class="wide">
<a class="skip" href="#content">Skip to the content</a>
<header>
<a class="brand" href="/">drover</a>
<nav id="places" class="links" aria-label="Pages"></nav>
${whoIsHere(visitor)}
</header>
<div id="fleet" data-role="${role}"><noscript><main><p>This page needs JavaScript. The command <code>drover ls</code> and the <a href="/docs">HTTP API</a> show the same.</p></main></noscript></div>
</body>
</html>
`;
}
