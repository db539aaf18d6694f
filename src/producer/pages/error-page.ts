import type { FastifyReply, FastifyRequest } from "fastify";
import type { Problem } from "../../contract/vm-view.ts";
import { accepts } from "../accept.ts";
import { html } from "./html.ts";
import { sendPage } from "./page.ts";

/** What people open in a browser; all else is for programs, also when a browser asks. */
const PAGE_PATH = /^\/($|(login|logout|board|docs|vms|batches|hosts|failures|submit)(\/|$))/;
const SEE_OTHER = 303;

/** Whether a person looks at the answer: a browser says that it wants HTML, programs at most that they take anything. */
export function wantsPage({ headers, url }: FastifyRequest): boolean {
  const { accept } = headers;
  return (
    PAGE_PATH.test(url.split("?", 1)[0] ?? "") &&
    accept !== undefined &&
    /text\/html/i.test(accept) &&
    accepts(accept, "text/html")
  );
}

/** A problem for people: who is not logged in is asked to, and comes back to where it wanted to go. */
export function replyWithPage(problem: Problem, request: FastifyRequest, reply: FastifyReply): void {
  if (problem.code === "unauthenticated" && request.method === "GET") {
    reply.redirect(`/login?next=${encodeURIComponent(request.url)}`, SEE_OTHER);
    return;
  }
  sendPage(reply, problem.status, {
    title: problem.title,
    main: html`<p role="alert">${problem.detail}</p><p><a href="/">Back to the first page</a></p>`,
  });
}
