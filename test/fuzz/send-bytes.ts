import { connect } from "node:net";
import type { FuzzCase } from "./fuzz-case.ts";
import { HANG_MS, type Outcome } from "./outcome.ts";

/** A server that waits for the rest of a request learns after this time that nothing more comes. */
const SILENCE_MS = 60;
/** A server that closes while a longer body is on its way may cut its own answer off. */
const SURELY_ANSWERED_BYTES = 64 * 1024;

/** Sends bytes on a connection of their own and reads until the server has closed it. */
export async function sendBytes(port: number, fuzzCase: FuzzCase): Promise<Outcome> {
  const { bytes, complete, protocol } = fuzzCase;
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    const chunks: Buffer[] = [];
    let silence: NodeJS.Timeout | undefined;
    const hang = setTimeout(() => settle(true), HANG_MS);
    const settle = (hung: boolean) => {
      clearTimeout(hang);
      clearTimeout(silence);
      socket.destroy();
      const text = Buffer.concat(chunks).toString("latin1");
      resolve(protocol === "grpc" ? framesOutcome(text, hung) : httpOutcome(text, hung, fuzzCase));
    };
    socket.on("connect", () => {
      socket.write(bytes);
      // A connection of HTTP/2 has no end of its own, so it is left.
      if (!complete) silence = setTimeout(() => (protocol === "grpc" ? settle(false) : socket.end()), SILENCE_MS);
    });
    socket.on("data", (chunk) => {
      chunks.push(chunk);
      silence?.refresh();
    });
    socket.on("end", () => settle(false));
    socket.on("error", () => settle(false)); // a refusal may cut what is still under way
  });
}

function httpOutcome(text: string, hung: boolean, { complete, bytes }: FuzzCase): Outcome {
  const statuses = statusesOf(text);
  const [first] = statuses;
  const failed = statuses.find((status) => status >= 500);
  const silent = first === undefined && complete && bytes.length < SURELY_ANSWERED_BYTES;
  const accepted = statuses.filter((status) => status === 202).length;
  return {
    answer: String(first ?? "cut"),
    hung,
    failure: failed !== undefined ? `answered ${failed}` : silent ? "closed without an answer" : undefined,
    refused: (first === undefined || first >= 400) && accepted === 0,
    accepted,
    text,
  };
}

/** Frames of HTTP/2 are not read: what counts is that the server lives on. */
function framesOutcome(text: string, hung: boolean): Outcome {
  return { answer: "grpc bytes", hung, failure: undefined, refused: true, accepted: 0, text };
}

/** Statuses of the answers that follow each other in a text; what an answer quotes in its body is none. */
function statusesOf(text: string): number[] {
  const statuses: number[] = [];
  for (let at = 0; ; ) {
    const head = /^HTTP\/1\.1 (\d{3}) [^\r]*\r\n([\s\S]*?)\r\n\r\n/.exec(text.slice(at));
    if (head === null) {
      const cutHead = /^HTTP\/1\.1 (\d{3}) /.exec(text.slice(at));
      return cutHead === null ? statuses : [...statuses, Number(cutHead[1])];
    }
    statuses.push(Number(head[1]));
    const length = /^content-length: (\d+)$/im.exec(head[2] ?? "");
    at += head[0].length + Number(length?.[1] ?? 0);
    if (length === null && Number(head[1]) >= 200) return statuses; // until the end of the connection
  }
}
