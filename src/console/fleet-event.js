import { shortId, words } from "./text.js";

/**
 * @typedef {object} FleetEvent A CloudEvent of drover, also of a type that this version does not know.
 * @property {string} id
 * @property {string} type
 * @property {string} subject The id of the VM, or of the batch.
 * @property {string} time
 * @property {string} owner
 * @property {Record<string, unknown>} data
 */

/** @param {FleetEvent} event */
export function isOfVm({ type }) {
  return type.startsWith("vm.");
}

/** What counts as bad news, to be seen at a glance. @param {FleetEvent} event */
export function isBad({ type }) {
  return type === "vm.failed" || type === "vm.retrying" || type === "vm.expired";
}

/**
 * What happened, without saying to whom: "runs on host-a:6100".
 * @param {FleetEvent} event
 */
export function whatHappened({ type, data }) {
  const at = (/** @type {string} */ name) => textOf(data[name]);
  const cause = causeOf(data);
  switch (type) {
    case "vm.queued":
      return data["reason"] === "accepted"
        ? "was accepted"
        : `went back to the queue (${join(words(at("reason")), cause)})`;
    case "vm.preparing":
      return `was taken by ${at("host")}, launch ${at("epoch")}`;
    case "vm.port_changed":
      return `moved to port ${at("port")}, since ${at("setAside")} was taken`;
    case "vm.starting":
      return `is starting on ${at("host")}`;
    case "vm.running":
      return `runs at ${at("address")}:${at("port")}, after ${at("bootMs")} ms`;
    case "vm.ready":
      return `is ready, after ${at("readyMs")} ms`;
    case "vm.adopted":
      return `was taken over by a new worker of ${at("host")}`;
    case "vm.reasserted":
      return `was told again by ${at("host")}: Redis had lost ${at("lost")}`;
    case "vm.copy_stopped":
      return `had an old copy stopped on ${at("host")}`;
    case "vm.removal_requested":
      return `is to be removed (${words(at("reason"))}, by ${at("by")})`;
    case "vm.stopping":
      return `is being stopped on ${at("host")}`;
    case "vm.retrying":
      return `failed and is tried again (${at("attempt")} of ${at("attempts")}): ${cause}`;
    case "vm.completed":
      return `completed (${join(words(at("reason")), data["exitCode"] === null ? "" : `exit code ${at("exitCode")}`)})`;
    case "vm.removed":
      return data["unverified"] === true ? "counts as removed, unproved" : "was removed";
    case "vm.expired":
      return `expired (${at("reason") === "ttl" ? "its time limit has passed" : "it waited too long"})`;
    case "vm.failed":
      return `failed: ${cause}`;
    case "batch.accepted":
      return `was accepted with ${at("total")} VMs`;
    case "batch.completed":
      return `ended: ${words(at("outcome"))}, ${at("completed")} of ${at("total")} completed, ${at("failed")} failed`;
    default:
      return words(type.slice(type.indexOf(".") + 1));
  }
}

/** Whom it happened to. @param {FleetEvent} event */
export function whoOf({ type, subject }) {
  return `${type.startsWith("batch.") ? "batch" : "VM"} ${shortId(subject)}`;
}

/** @param {Record<string, unknown>} data */
function causeOf(data) {
  const cause = data["cause"];
  if (typeof cause !== "object" || cause === null) return "";
  const { code, message } = /** @type {{ code?: unknown, message?: unknown }} */ (cause);
  return `${textOf(code)}: ${textOf(message)}`;
}

/** @param {unknown} value */
function textOf(value) {
  return typeof value === "string" || typeof value === "number" ? String(value) : "?";
}

/** @param {readonly string[]} parts */
function join(...parts) {
  return parts.filter((part) => part !== "").join(", ");
}
