/** What a metric is: its kind, a sentence for people, and every label with what its values are. */
export interface MetricSpec {
  readonly type: "counter" | "gauge" | "histogram" | "summary";
  /** One sentence; the unit stands last in the name. */
  readonly help: string;
  /** Each of them has few values, whoever uses drover: never an id of a VM, an owner or anything else that a client chooses. */
  readonly labels: Readonly<Record<string, string>>;
  /** Upper bounds of a histogram, in the metric's unit. */
  readonly buckets?: readonly number[];
  /**
   * Labels of a counter that stand at 0 from the start. Prometheus sees growth only from one scrape to the next: a
   * series that begins with 1 would hide the first time.
   */
  readonly zeros?: readonly Readonly<Record<string, string>>[];
}

/** All pairs of what stands in two lists, as the labels of these names. */
export function everyPair(
  [first, firsts]: readonly [string, readonly string[]],
  [second, seconds]: readonly [string, readonly string[]],
): readonly Readonly<Record<string, string>>[] {
  return firsts.flatMap((a) => seconds.map((b) => ({ [first]: a, [second]: b })));
}

/** What stands in a list, as the label of this name. */
export function every(label: string, values: readonly string[]): readonly Readonly<Record<string, string>>[] {
  return values.map((value) => ({ [label]: value }));
}

/** No label at all. */
export const PLAIN = {} as const;
