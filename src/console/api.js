import { Refusal, refusalOf } from "./refusal.js";

const ANSWER_MAX_MS = 30_000;

/**
 * Asks the API. Whoever is not logged in any more is led to the login and back. Throws `Refusal`.
 * @param {string} path
 * @param {RequestInit} [init]
 * @returns {Promise<Response>}
 */
export async function ask(path, init = {}) {
  const response = await fetch(path, init).catch((error) => {
    if (init.signal?.aborted) throw error;
    throw new Refusal({ status: 0, code: "", detail: "the server does not answer" });
  });
  if (response.status === 401)
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  if (!response.ok) throw await refusalOf(response);
  return response;
}

/**
 * @param {string} path
 * @param {AbortSignal} signal
 * @returns {Promise<unknown>}
 */
export async function read(path, signal) {
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MAX_MS)]);
  const response = await ask(path, { headers: { accept: "application/json" }, signal: bounded });
  return response.json();
}

/**
 * Changes something. The browser says by itself that the request comes from a page of drover.
 * @param {"POST" | "DELETE"} method
 * @param {string} path
 * @param {{ body: BodyInit, type: string, headers?: Record<string, string> }} [content]
 * @returns {Promise<unknown>}
 */
export async function change(method, path, content) {
  const headers = { accept: "application/json", ...content?.headers };
  const init = content === undefined ? {} : { body: content.body };
  const typed = content === undefined ? headers : { ...headers, "content-type": content.type };
  const response = await ask(path, { method, headers: typed, ...init });
  return response.status === 204 ? undefined : response.json();
}
