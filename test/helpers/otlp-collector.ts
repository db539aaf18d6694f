import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";

/** A span as it came over the wire; ids in hex. */
export interface CollectedSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for the root of a trace. */
  readonly parentId: string;
  readonly kind: number;
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly links: readonly string[];
  /** 0 unset, 2 error. */
  readonly status: number;
  readonly message: string;
  readonly resource: Readonly<Record<string, unknown>>;
  readonly scope: string;
}

export interface OtlpCollector extends AsyncDisposable {
  readonly url: string;
  readonly spans: CollectedSpan[];
  /** Path and content type of each request. */
  readonly requests: string[];
  /** The bodies as they came, to be searched. */
  readonly bodies: Buffer[];
  /** All spans of a name, in their order. */
  named(name: string): CollectedSpan[];
  /** What to answer from now on; `hang` never does. */
  answer: number | "hang";
}

export interface CollectorOptions {
  readonly port?: number;
  readonly tls?: { readonly key: string | Buffer; readonly cert: string | Buffer };
}

/** `await using collector = await openCollector()`: takes spans by OTLP over HTTP, as Jaeger does, and reads them. */
export async function openCollector({ port = 0, tls }: CollectorOptions = {}): Promise<OtlpCollector> {
  const spans: CollectedSpan[] = [];
  const requests: string[] = [];
  const bodies: Buffer[] = [];
  const collector = { answer: 200 as number | "hang" };
  const take = async (request: IncomingMessage, response: ServerResponse) => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(Buffer.from(piece));
    const body = Buffer.concat(pieces);
    requests.push(`${request.method} ${request.url} ${request.headers["content-type"]}`);
    if (collector.answer === "hang") return;
    if (collector.answer === 200) {
      bodies.push(body);
      spans.push(...readSpans(body));
    }
    response.writeHead(collector.answer, { "content-type": "application/x-protobuf" }).end();
  };
  const server: Server = tls === undefined ? createServer(take) : createTlsServer(tls, take);
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const at = server.address() as AddressInfo;
  return Object.assign(collector, {
    url: `${tls === undefined ? "http" : "https"}://127.0.0.1:${at.port}`,
    spans,
    requests,
    bodies,
    named: (name: string) => spans.filter((span) => span.name === name),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

/** The fields of one protobuf message: bytes, or a number for what is fixed or a varint. */
function fieldsOf(bytes: Buffer): { readonly field: number; readonly value: Buffer | bigint }[] {
  const fields: { field: number; value: Buffer | bigint }[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes.readUInt8(at++);
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const field = tag >> 3;
    if ((tag & 7) === 0) fields.push({ field, value: varint() });
    else if ((tag & 7) === 1) {
      fields.push({ field, value: bytes.readBigUInt64LE(at) });
      at += 8;
    } else if ((tag & 7) === 5) {
      fields.push({ field, value: BigInt(bytes.readUInt32LE(at)) });
      at += 4;
    } else if ((tag & 7) === 2) {
      const length = Number(varint());
      fields.push({ field, value: bytes.subarray(at, at + length) });
      at += length;
    } else throw new Error(`wire type ${tag & 7} at ${at}`);
  }
  return fields;
}

function messages(bytes: Buffer, wanted: number): Buffer[] {
  return fieldsOf(bytes).flatMap(({ field, value }) => (field === wanted && typeof value !== "bigint" ? [value] : []));
}

function text(bytes: Buffer, wanted: number): string {
  return messages(bytes, wanted)[0]?.toString("utf8") ?? "";
}

function hex(bytes: Buffer, wanted: number): string {
  return messages(bytes, wanted)[0]?.toString("hex") ?? "";
}

function number(bytes: Buffer, wanted: number): bigint {
  const value = fieldsOf(bytes).find(({ field }) => field === wanted)?.value;
  return typeof value === "bigint" ? value : 0n;
}

/** `KeyValue`s: texts, booleans and integers are all that drover sends. */
function attributesOf(bytes: Buffer, wanted: number): Record<string, unknown> {
  return Object.fromEntries(
    messages(bytes, wanted).map((pair) => {
      const [value] = fieldsOf(messages(pair, 2)[0] ?? Buffer.alloc(0));
      const read = typeof value?.value === "bigint" ? Number(value.value) : value?.value.toString("utf8");
      return [text(pair, 1), read];
    }),
  );
}

/** Field numbers as in opentelemetry/proto/trace/v1/trace.proto. */
function readSpans(request: Buffer): CollectedSpan[] {
  return messages(request, 1).flatMap((ofResource) => {
    const [resource = Buffer.alloc(0)] = messages(ofResource, 1);
    return messages(ofResource, 2).flatMap((ofScope) =>
      messages(ofScope, 2).map((span) => {
        const [status = Buffer.alloc(0)] = messages(span, 15);
        return {
          name: text(span, 5),
          traceId: hex(span, 1),
          spanId: hex(span, 2),
          parentId: hex(span, 4),
          kind: Number(number(span, 6)),
          startMs: Number(number(span, 7)) / 1e6,
          endMs: Number(number(span, 8)) / 1e6,
          attributes: attributesOf(span, 9),
          links: messages(span, 13).map((link) => `${hex(link, 1)}-${hex(link, 2)}`),
          status: Number(number(status, 3)),
          message: text(status, 2),
          resource: attributesOf(resource, 1),
          scope: text(messages(ofScope, 1)[0] ?? Buffer.alloc(0), 1),
        };
      }),
    );
  });
}
