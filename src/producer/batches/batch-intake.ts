import { BatchHead, type LineProblem } from "../../contract/batch.ts";
import { DroverError, type FieldProblem } from "../../contract/errors.ts";
import { BATCH_PROBLEMS_MAX, REQUEST_MAX_BYTES } from "../../contract/limits.ts";
import { splitItem, type VmSecrets } from "../../contract/vm-request.ts";
import type { SplitRequest } from "../idempotency.ts";
import type { ReadJson } from "../json-text.ts";
import { checkRequest } from "../validation.ts";
import type { BodyPiece } from "./body-piece.ts";
import { ItemReader } from "./item-reader.ts";
import { LineSplitter } from "./line-splitter.ts";
import { ListSplitter } from "./list-splitter.ts";
import { Turns } from "./turns.ts";

export interface IntakeOptions {
  /** NDJSON, or one JSON list or object. */
  readonly format: "lines" | "list";
  readonly readJson: ReadJson;
  readonly itemsMax: number;
  /** What is wrong with secrets on this server, if anything. */
  readonly problemOfSecrets: (secrets: VmSecrets) => FieldProblem | undefined;
}

export interface IntakeItem extends SplitRequest {
  readonly line: number;
}

/** What holds for the whole batch, its defaults in two parts. */
export interface IntakeHead extends Omit<BatchHead, "defaults"> {
  readonly defaults: SplitRequest;
}

/** The body of a batch on its way in: gives the requests that are in order, and remembers what is wrong with others. */
export class BatchIntake {
  readonly #options: IntakeOptions;
  readonly #problems: LineProblem[] = [];
  readonly #fields: Record<string, unknown> = {};
  #reader: ItemReader | undefined;
  #head: IntakeHead = { defaults: { spec: {}, secrets: {} } };
  #headProblems: readonly FieldProblem[] = [];
  #accepted = 0;
  #rejected = 0;
  #problemCount = 0;

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  /** Complete when all items were taken. */
  get head(): IntakeHead {
    return this.#head;
  }

  /** What is wrong with the head; such a batch is never accepted. */
  get headProblems(): readonly FieldProblem[] {
    return this.#headProblems;
  }

  /** What is wrong with single requests, the first of it; `problemCount` is all of it. */
  get problems(): readonly LineProblem[] {
    return this.#problems;
  }

  get problemCount(): number {
    return this.#problemCount;
  }

  /** How many requests something is wrong with. */
  get rejected(): number {
    return this.#rejected;
  }

  get accepted(): number {
    return this.#accepted;
  }

  /**
   * The requests in order that have nothing wrong with them. Others get their turn in between. Throws `malformed_body`
   * where the body as a whole cannot be read, and `body_too_large` for too many requests.
   */
  async *items(chunks: AsyncIterable<Buffer>): AsyncGenerator<IntakeItem> {
    const splitter =
      this.#options.format === "lines" ? new LineSplitter(REQUEST_MAX_BYTES) : new ListSplitter(REQUEST_MAX_BYTES);
    const turns = new Turns();
    for await (const chunk of chunks) {
      for (const piece of splitter.push(chunk)) {
        const item = this.#take(piece);
        if (item !== undefined) yield item;
        if (turns.isOver) await turns.next();
      }
    }
    for (const piece of splitter.end()) {
      const item = this.#take(piece);
      if (item !== undefined) yield item;
    }
    if (this.#options.format === "list") this.#readHead(this.#fields, undefined);
  }

  #take(piece: BodyPiece): IntakeItem | undefined {
    if (piece.kind === "field") {
      this.#takeField(piece.name, piece.bytes);
      return undefined;
    }
    if (this.#reader === undefined && this.#isHead(piece)) return undefined;
    this.#reader ??= this.#openReader();
    const outcome = this.#reader.read(piece.bytes);
    if ("spec" in outcome) {
      this.#accepted++;
      this.#assertNotTooMany();
      return { line: piece.line, ...outcome };
    }
    this.#reject(piece.line, outcome);
    return undefined;
  }

  #takeField(name: string, bytes: Buffer): void {
    if (name === "defaults" && this.#reader !== undefined)
      throw new DroverError("malformed_body", "`defaults` must stand before `items`: items are read as they come");
    this.#fields[name] = this.#options.readJson(bytes, "a field of the body");
    if (Object.keys(this.#fields).length > Object.keys(BatchHead.shape).length)
      throw new DroverError("malformed_body", "the body has more fields than a batch knows");
  }

  /** Whether the first line is `{"batch": {...}}`. */
  #isHead({ line, bytes }: { readonly line: number; readonly bytes: Buffer | undefined }): boolean {
    if (this.#options.format === "list" || bytes === undefined || !bytes.includes('"batch"')) return false;
    let json: unknown;
    try {
      json = this.#options.readJson(bytes, "it");
    } catch {
      return false; // told when it is read as a request
    }
    if (typeof json !== "object" || json === null || !("batch" in json)) return false;
    const { batch, ...others } = json;
    this.#readHead(batch, line);
    for (const field of Object.keys(others))
      this.#headProblems = [...this.#headProblems, { field, message: "is not known beside `batch`", line }];
    this.#reader = this.#openReader();
    return true;
  }

  #openReader(): ItemReader {
    const { readJson, problemOfSecrets, format } = this.#options;
    if (format === "list") this.#readHead({ defaults: this.#fields["defaults"] }, undefined);
    return new ItemReader({ readJson, problemOfSecrets, defaults: this.#head.defaults.spec });
  }

  #readHead(fields: unknown, line: number | undefined): void {
    const at = line === undefined ? {} : { line };
    this.#headProblems = [];
    try {
      const { defaults = {}, ...rest } = checkRequest(BatchHead, fields);
      const split = splitItem(defaults);
      this.#head = { ...rest, defaults: split };
      const problem = this.#options.problemOfSecrets(split.secrets);
      if (problem !== undefined) this.#headProblems = [{ ...problem, field: `defaults.${problem.field}`, ...at }];
    } catch (error) {
      if (!(error instanceof DroverError)) throw error;
      this.#headProblems = error.problems.map((problem) => ({ ...problem, ...at }));
    }
  }

  #reject(line: number, problems: readonly FieldProblem[]): void {
    this.#rejected++;
    this.#problemCount += problems.length;
    this.#assertNotTooMany();
    for (const { field, message } of problems)
      if (this.#problems.length < BATCH_PROBLEMS_MAX) this.#problems.push({ line, field, message });
  }

  #assertNotTooMany(): void {
    const { itemsMax } = this.#options;
    if (this.#accepted + this.#rejected <= itemsMax) return;
    throw new DroverError(
      "body_too_large",
      `the batch holds more than ${itemsMax} requests (DROVER_BATCH_MAX_ITEMS); nothing was accepted: send several batches`,
    );
  }
}
