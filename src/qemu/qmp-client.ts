import type { Socket } from "node:net";
import { QmpError } from "./qmp-error.ts";
import {
  LineSplitter,
  parseQmpLine,
  QMP_REPLIES,
  type QmpArguments,
  type QmpCommand,
  type QmpEvent,
  type QmpReply,
  qmpCommandLine,
} from "./qmp-protocol.ts";

/** Unanswered commands, timed-out ones included; a hung QEMU must not make us queue without end. */
const PENDING_MAX = 32;
/** Events that come before somebody listens. */
const EARLY_EVENTS_MAX = 64;

interface Pending {
  readonly settle: (value: unknown) => void;
  readonly fail: (error: QmpError) => void;
}

export interface ExecuteOptions {
  readonly timeoutMs: number;
}

/**
 * One QMP connection. It owns the socket: `close()` gives it back, and so does every failure of the protocol.
 * Commands may be sent before their predecessors are answered; QEMU serves them in order.
 */
export class QmpClient {
  /** Settles, never rejects, when the connection is gone; says why. */
  readonly closed: Promise<QmpError>;
  /** QEMU's version, once greeted. Rejects when the connection closes before. */
  readonly greeting: Promise<string>;
  readonly #socket: Socket;
  readonly #splitter = new LineSplitter();
  /** `undefined` stands for a command whose caller has given up; its late answer is dropped. */
  readonly #pending = new Map<number, Pending | undefined>();
  readonly #reportClosed: (error: QmpError) => void;
  readonly #reportGreeting: (version: string) => void;
  #early: QmpEvent[] = [];
  #onEvent: ((event: QmpEvent) => void) | undefined;
  #failure: QmpError | undefined;
  #nextId = 1;
  #lastHeardMs = performance.now();

  constructor(socket: Socket) {
    let reportClosed: (error: QmpError) => void = () => undefined;
    this.closed = new Promise((resolve) => {
      reportClosed = resolve;
    });
    this.#reportClosed = reportClosed;
    let reportGreeting: (version: string) => void = () => undefined;
    this.greeting = new Promise((resolve, reject) => {
      reportGreeting = resolve;
      this.closed.then(reject, reject);
    });
    this.greeting.catch(() => undefined); // who waits for it gets the rejection; an adopter's retry may not
    this.#reportGreeting = reportGreeting;
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("error", (error) => this.#fail(new QmpError("closed", `the QMP connection broke: ${error.message}`)));
    socket.on("close", () => this.#fail(new QmpError("closed", "QEMU closed the QMP connection")));
  }

  /** When QEMU last said anything, on the clock of `performance.now()`. */
  get lastHeardMs(): number {
    return this.#lastHeardMs;
  }

  get isOpen(): boolean {
    return this.#failure === undefined;
  }

  /** Sends the events to `listener`, those that came earlier first. There is one listener. */
  listen(listener: (event: QmpEvent) => void): void {
    this.#onEvent = listener;
    for (const event of this.#early.splice(0)) listener(event);
  }

  /**
   * Runs one command. Rejects with {@link QmpError} `timeout`, `refused`, `closed`, `malformed` (the reply is not of
   * the known shape) or `overloaded`. After a timeout QEMU may still carry the command out.
   */
  execute<C extends QmpCommand>(command: C, args: QmpArguments<C>, options: ExecuteOptions): Promise<QmpReply<C>> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      if (this.#pending.size >= PENDING_MAX) {
        return reject(new QmpError("overloaded", `QEMU has left ${PENDING_MAX} QMP commands unanswered`));
      }
      const id = this.#nextId++;
      const timer = setTimeout(() => {
        this.#pending.set(id, undefined);
        reject(new QmpError("timeout", `QEMU did not answer '${command}' in ${options.timeoutMs} ms`));
      }, options.timeoutMs);
      this.#pending.set(id, {
        settle: (value) => {
          clearTimeout(timer);
          const reply = QMP_REPLIES[command].safeParse(value);
          // The schema was looked up by the command, which the compiler cannot follow through the union.
          if (reply.success) resolve(reply.data as QmpReply<C>);
          else reject(new QmpError("malformed", `QEMU answered '${command}' in an unknown form`));
        },
        fail: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      });
      this.#socket.write(qmpCommandLine(id, command, args));
    });
  }

  /** Closes the connection; commands under way reject with `closed`. Done twice it is no error. */
  close(): void {
    this.#fail(new QmpError("closed", "the QMP connection was closed by drover"));
  }

  #read(chunk: Buffer): void {
    if (this.#failure !== undefined) return;
    this.#lastHeardMs = performance.now();
    try {
      for (const line of this.#splitter.push(chunk)) this.#take(line);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#failMalformed(error.message);
    }
  }

  #take(line: string): void {
    const message = parseQmpLine(line);
    switch (message.kind) {
      case "greeting":
        this.#reportGreeting(message.version);
        break;
      case "reply":
        this.#answer(message.id, (pending) => pending.settle(message.value));
        break;
      case "refusal":
        if (message.id === undefined) this.#failMalformed(`QEMU could not read a command: ${message.description}`);
        else this.#answer(message.id, (pending) => pending.fail(new QmpError("refused", message.description)));
        break;
      case "event":
        if (this.#onEvent !== undefined) this.#onEvent(message.event);
        else if (this.#early.length < EARLY_EVENTS_MAX) this.#early.push(message.event);
        break;
      case "malformed":
        this.#failMalformed(`QEMU said something that is not QMP: ${message.text}`);
    }
  }

  #failMalformed(reason: string): void {
    this.#fail(new QmpError("malformed", reason));
  }

  #answer(id: number, act: (pending: Pending) => void): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (pending !== undefined) act(pending);
  }

  /** The first reason wins. */
  #fail(error: QmpError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#socket.destroy();
    for (const pending of this.#pending.values()) pending?.fail(error);
    this.#pending.clear();
    this.#reportClosed(error);
  }
}
