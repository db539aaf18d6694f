import { type ClientHttp2Session, connect, constants, type IncomingHttpHeaders } from "node:http2";
import type { FuzzCase } from "./fuzz-case.ts";
import { HANG_MS, type Outcome } from "./outcome.ts";

const { NGHTTP2_CANCEL } = constants;
/** A status of gRPC's own by which a server says that the mistake is its. */
const SERVER_FAULTS: Readonly<Record<number, string>> = {
  2: "UNKNOWN",
  13: "INTERNAL",
  14: "UNAVAILABLE",
  15: "DATA_LOSS",
};

/** Sends calls one after the other over a connection that is opened anew when the server has closed it. */
export class CallSender {
  readonly #port: number;
  #session: ClientHttp2Session | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  async send({ call, bytes }: FuzzCase): Promise<Outcome> {
    if (call === undefined) throw new Error("this case is no call");
    return new Promise((resolve) => {
      const hang = setTimeout(() => settle(true), HANG_MS);
      const heard: IncomingHttpHeaders = {};
      let cut: string | undefined;
      const settle = (hung: boolean) => {
        clearTimeout(hang);
        stream.close(NGHTTP2_CANCEL);
        resolve(outcomeOf(heard, { hung, cut }));
      };
      const stream = this.#open().request({
        ":method": "POST",
        ":path": call.path,
        "content-type": "application/grpc",
        te: "trailers",
        ...call.headers,
      });
      stream.on("response", (headers) => {
        Object.assign(heard, headers);
        if (headers["drover-vm-id"] !== undefined) settle(false); // no worker will ever start it
      });
      stream.on("trailers", (headers) => Object.assign(heard, headers));
      stream.on("error", (error) => {
        cut = error.message;
      });
      stream.on("close", () => settle(false));
      stream.resume();
      stream.end(bytes);
    });
  }

  close(): void {
    this.#session?.destroy();
  }

  #open(): ClientHttp2Session {
    if (this.#session !== undefined && !this.#session.closed && !this.#session.destroyed) return this.#session;
    const session = connect(`http://127.0.0.1:${this.#port}`);
    session.on("error", () => undefined); // its streams tell
    this.#session = session;
    return session;
  }
}

function outcomeOf(heard: IncomingHttpHeaders, { hung, cut }: { hung: boolean; cut: string | undefined }): Outcome {
  const httpStatus = Number(heard[":status"] ?? 0);
  const grpcStatus = heard["grpc-status"] === undefined ? undefined : Number(heard["grpc-status"]);
  const accepted = heard["drover-vm-id"] === undefined ? 0 : 1;
  const fault = grpcStatus === undefined ? undefined : SERVER_FAULTS[grpcStatus];
  return {
    answer: grpcStatus !== undefined ? `grpc ${grpcStatus}` : httpStatus > 0 ? `grpc http ${httpStatus}` : "grpc cut",
    hung,
    failure: fault ?? (httpStatus >= 500 ? `http ${httpStatus}` : undefined),
    refused: accepted === 0 && (grpcStatus === undefined ? httpStatus !== 200 || cut !== undefined : grpcStatus !== 0),
    accepted,
    text: `${JSON.stringify(heard)} ${cut ?? ""}`,
  };
}
