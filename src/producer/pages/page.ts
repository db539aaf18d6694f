import type { FastifyReply } from "fastify";
import { type Html, html } from "./html.ts";
import type { Visitor } from "./visitor.ts";

export const STYLE_PATH = "/pages/drover.css";

/** Nothing but the one style sheet and forms to this server: these pages need no script, and none that slips in runs. */
const PAGE_POLICY =
  "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

export interface Page {
  readonly title: string;
  readonly main: Html;
  readonly visitor?: Visitor | undefined;
}

/** Sends one of drover's own pages. */
export function sendPage(reply: FastifyReply, status: number, page: Page): FastifyReply {
  return reply
    .code(status)
    .type("text/html; charset=utf-8")
    .header("content-security-policy", PAGE_POLICY)
    .send(layout(page).text);
}

function layout({ title, main, visitor }: Page): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} - drover</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${STYLE_PATH}">
</head>
<body>
<header>
<a class="brand" href="/">drover</a>
${visitor === undefined ? undefined : whoIsHere(visitor)}
</header>
<main>
<h1>${title}</h1>
${main}
</main>
</body>
</html>
`;
}

/** Who is logged in, with the way out. */
export function whoIsHere({ principal: { owner, role, via }, formToken }: Visitor): Html {
  const who = via === "local" ? html`the local operator` : html`<b>${owner}</b> (${role})`;
  return html`<div class="visitor"><span>You are ${who}</span>
${formToken === undefined ? undefined : logOutForm(formToken)}
</div>`;
}

function logOutForm(formToken: string): Html {
  return html`<form method="post" action="/logout"><input type="hidden" name="formToken" value="${formToken}"><button class="quiet">Log out</button></form>`;
}
