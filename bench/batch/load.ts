import { Agent, request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";

const JSON_HEADERS = { "content-type": "application/json" };

/** Requests a second: `total` of them over `connections` connections that are kept. */
export async function submitRate(url: string, { total, connections }: { total: number; connections: number }) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  let left = total;
  const begunMs = performance.now();
  await Promise.all(
    Array.from({ length: connections }, async () => {
      while (left-- > 0) {
        const status = await send(`${url}/v1/vms`, { agent, method: "POST", body: '{"name":"single"}' });
        if (status !== 202) throw new Error(`a submit was answered with ${status}`);
      }
    }),
  );
  agent.destroy();
  return (total / (performance.now() - begunMs)) * 1_000;
}

/** What another client waits for an answer, in ms, asked every few milliseconds until it is told to stop. */
export async function probe(url: string, signal: AbortSignal): Promise<number[]> {
  const agent = new Agent({ keepAlive: true });
  const waits: number[] = [];
  while (!signal.aborted) {
    const begunMs = performance.now();
    await send(`${url}/v1/hosts`, { agent, method: "GET" });
    waits.push(performance.now() - begunMs);
    await delay(5);
  }
  agent.destroy();
  return waits;
}

export function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

function send(url: string, { agent, method, body }: { agent: Agent; method: string; body?: string }): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { agent, method, headers: body === undefined ? {} : JSON_HEADERS }, (response) => {
      response.resume().once("end", () => resolve(response.statusCode ?? 0));
    });
    sent.once("error", reject);
    sent.end(body);
  });
}
