import { createConnection } from "node:net";
import { waitFor } from "./wait-for.ts";

/** As short as the worker's own probe: a connection made before the guest listens is slower than a new one. */
const TRY_OPEN_MS = 250;

/** What the guest's agent says to whoever connects at the address that the API names. Tries until it answers. */
export async function askAgent(address: { host: string; port: number } | null): Promise<string> {
  if (address === null) throw new Error("the VM has no address");
  return waitFor(() => askOnce(address), { timeoutMs: 150_000, what: `the agent at ${address.host}:${address.port}` });
}

function askOnce(address: { host: string; port: number }): Promise<string> {
  return new Promise((resolve) => {
    const socket = createConnection(address);
    const finish = (answer: string) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => finish(""), TRY_OPEN_MS);
    socket.once("data", (data) => finish(data.toString().trim()));
    socket.once("error", () => finish(""));
    socket.once("close", () => finish(""));
  });
}
