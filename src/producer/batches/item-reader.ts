import { DroverError, type FieldProblem } from "../../contract/errors.ts";
import { LABELS_MAX_COUNT, REQUEST_MAX_BYTES } from "../../contract/limits.ts";
import { splitItem, VmRequest, type VmSecrets } from "../../contract/vm-request.ts";
import type { SplitRequest } from "../idempotency.ts";
import type { ReadJson } from "../json-text.ts";
import { checkRequest } from "../validation.ts";

export interface ItemReaderOptions {
  readonly readJson: ReadJson;
  /** What every request has that does not say otherwise. */
  readonly defaults: VmRequest;
  /** What is wrong with a secret on this server. */
  readonly problemOfSecrets: (secrets: VmSecrets) => FieldProblem | undefined;
}

/** Of a request as a whole. */
const WHOLE = "request";

/** Reads the single requests of a batch. */
export class ItemReader {
  readonly #readJson: ReadJson;
  readonly #problemOfSecrets: ItemReaderOptions["problemOfSecrets"];
  readonly #defaultLabels: readonly string[];

  constructor({ readJson, defaults, problemOfSecrets }: ItemReaderOptions) {
    this.#readJson = readJson;
    this.#problemOfSecrets = problemOfSecrets;
    this.#defaultLabels = Object.keys(defaults.labels ?? {});
  }

  /**
   * What a request says of its own, or everything that is wrong with it; the problems hold no value of a secret.
   * Undefined bytes are those of a request that is too long to be kept.
   */
  read(bytes: Buffer | undefined): SplitRequest | readonly FieldProblem[] {
    if (bytes === undefined) return [{ field: WHOLE, message: `it is longer than ${REQUEST_MAX_BYTES} bytes` }];
    try {
      const json = this.#readJson(bytes, "it");
      if (json === undefined) return [{ field: WHOLE, message: "it is empty" }];
      const request = checkRequest(VmRequest, json);
      const split = splitItem(request);
      const problem = this.#problemOfLabels(request) ?? this.#problemOfSecrets(split.secrets);
      return problem === undefined ? split : [problem];
    } catch (error) {
      if (!(error instanceof DroverError)) throw error;
      return error.problems.length > 0 ? error.problems : [{ field: WHOLE, message: error.message }];
    }
  }

  #problemOfLabels({ labels = {} }: VmRequest): FieldProblem | undefined {
    const all = new Set([...this.#defaultLabels, ...Object.keys(labels)]);
    if (all.size <= LABELS_MAX_COUNT) return undefined;
    return { field: "labels", message: `at most ${LABELS_MAX_COUNT} labels, those of the defaults included` };
  }
}
