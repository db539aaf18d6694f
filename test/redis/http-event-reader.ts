import { get, type IncomingMessage } from "node:http";
import { afterEach } from "vitest";
import type { HttpWorld } from "./http-world.ts";

interface Message {
  readonly id: string | undefined;
  readonly event: string;
  readonly data: string;
}

export interface EventReader {
  readonly response: IncomingMessage;
  readonly messages: Message[];
  readonly text: () => string;
  readonly ended: () => boolean;
  /** Last id that was seen on any message or heartbeat. */
  readonly lastId: () => string | undefined;
  stop(): void;
}

const readers: EventReader[] = [];
afterEach(() => {
  for (const reader of readers.splice(0)) reader.stop();
});

/** One reader of the event stream over a real connection; closed after the test. */
export function openEvents(world: HttpWorld, query = "", headers: Record<string, string> = {}): Promise<EventReader> {
  return new Promise((resolve, reject) => {
    const request = get(`${world.url}/v1/events${query}`, { headers }, (response) => {
      let rest = "";
      let text = ""; // what was read, without the data
      let ended = false;
      const messages: Message[] = [];
      response.setEncoding("utf8").on("data", (chunk: string) => {
        const blocks = (rest + chunk).split("\n\n");
        rest = blocks.pop() ?? "";
        for (const block of blocks) {
          const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1];
          const data = field("data");
          if (data !== undefined) messages.push({ id: field("id"), event: field("event") ?? "message", data });
          text += `${block.replace(/^data: .*$/m, "")}\n\n`;
        }
      });
      response.on("close", () => {
        ended = true;
      });
      response.on("error", () => undefined);
      const lastId = () => [...text.matchAll(/^id: (.*)$/gm)].at(-1)?.[1];
      const reader = {
        response,
        messages,
        text: () => text,
        ended: () => ended,
        lastId,
        stop: () => request.destroy(),
      };
      readers.push(reader);
      resolve(reader);
    });
    request.on("error", reject);
  });
}
