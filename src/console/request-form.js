import { Refusal } from "./refusal.js";

const FILE_MAX_BYTES = 256 * 1024;

/** Fields of a request that are files, in the order of the form. */
const FILES = ["agentCvmClientKey", "agentCvmClientCert", "agentCvmServerCaCert"];
const TEXTS = [
  "name",
  "pool",
  "priority",
  "ttl",
  "tee",
  "memoryClass",
  "agentCvmServerUrl",
  "agentCertsToken",
  "aaKbsParams",
];

/**
 * The request that a filled form means; fields that were left empty are left out. Throws `Refusal`.
 * @param {FormData} form
 * @returns {Promise<Record<string, unknown>>}
 */
export async function requestOf(form) {
  /** @type {Record<string, unknown>} */
  const request = {};
  for (const field of TEXTS) {
    const value = String(form.get(field) ?? "").trim();
    if (value !== "") request[field] = value;
  }
  for (const field of ["labels", "hostLabels"]) {
    const labels = labelsOf(field, String(form.get(field) ?? ""));
    if (Object.keys(labels).length > 0) request[field] = labels;
  }
  const gpu = form.get("gpu");
  if (gpu === "yes" || gpu === "no") request["gpu"] = gpu === "yes";
  const attempts = String(form.get("attempts") ?? "");
  if (attempts !== "") request["attempts"] = Number(attempts);
  if (form.has("result")) request["result"] = true;
  for (const field of FILES) {
    const file = form.get(field);
    if (file instanceof File && file.size > 0) request[field] = await fileText(field, file);
  }
  return request;
}

/** "team=blue, run=7" as an object. @param {string} field @param {string} text */
function labelsOf(field, text) {
  /** @type {Record<string, string>} */
  const labels = {};
  for (const part of text.split(",").map((piece) => piece.trim())) {
    if (part === "") continue;
    const at = part.indexOf("=");
    if (at < 1) throw refused(field, `${JSON.stringify(part)} is not written as name=value`);
    labels[part.slice(0, at).trim()] = part.slice(at + 1).trim();
  }
  return labels;
}

/** PEM text as it is, other bytes as base64. @param {string} field @param {File} file */
async function fileText(field, file) {
  if (file.size > FILE_MAX_BYTES) throw refused(field, `the file is larger than ${FILE_MAX_BYTES} bytes`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return text.startsWith("-----BEGIN ") ? text : btoa(text);
}

/** @param {string} field @param {string} message */
function refused(field, message) {
  return new Refusal({
    status: 400,
    code: "invalid_request",
    detail: "the form is not filled in well",
    problems: [{ field, message }],
  });
}

/** A key that makes a repeated request harmless. Not by `randomUUID`, which exists over TLS and on loopback only. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
