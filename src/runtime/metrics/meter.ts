import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry, Summary } from "prom-client";
import {
  type CounterName,
  type GaugeName,
  type LabelsOf,
  METRICS_OF,
  type MeteredProcess,
  type SpreadName,
} from "./metric-catalogue.ts";
import type { MetricSpec } from "./metric-spec.ts";

/** The delay of the event loop is looked at this often: more often it would wake an idle worker for nothing. */
const LOOP_LOOK_MS = 100;
/** As the Cocos manager has them. */
const PERCENTILES = [0.5, 0.9, 0.99];
const SUMMARY_AGE_S = 600;
const SUMMARY_AGE_BUCKETS = 5;

/** Counts what happens. What counts it needs to know no more than this. */
export interface Counting {
  /** Adds `by` (1 if left out) to a counter. */
  count<K extends CounterName>(name: K, labels: LabelsOf<K>, by?: number): void;
  /** Puts one value into a histogram or summary. */
  observe<K extends SpreadName>(name: K, labels: LabelsOf<K>, value: number): void;
}

/** Says how things stand at the moment of a scrape. */
export interface Gauging {
  /** Nothing is shown for `undefined`. */
  set<K extends GaugeName>(name: K, labels: LabelsOf<K>, value: number | boolean | undefined): void;
}

/** Told how things stand; must come to its end by itself and never rejects. */
export type GaugeReader = (gauges: Gauging) => void | Promise<void>;

/** Counts nothing. */
export const NO_COUNTING: Counting = { count: () => undefined, observe: () => undefined };

/**
 * The metrics of one process. Counters and histograms grow as things happen; gauges are empty until a scrape, which asks
 * their readers anew, so that nothing is shown that is not true any more.
 */
export class Meter implements Counting {
  readonly #registry = new Registry();
  readonly #readers = new Set<GaugeReader>();
  readonly #gauges = new Map<string, Gauge>();
  readonly #counters = new Map<string, Counter>();
  readonly #spreads = new Map<string, Histogram | Summary>();
  #scraping: Promise<string> | undefined;

  /** With `process` also what prom-client tells of every Node process: `process_*` and `nodejs_*`. */
  constructor({ process = false }: { readonly process?: boolean } = {}) {
    if (process) collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: LOOP_LOOK_MS });
  }

  /** Content type of a scrape. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Makes room for the metrics of an API or a worker. What has been declared before stays as it is. */
  declare(kind: MeteredProcess): void {
    for (const [name, spec] of Object.entries<MetricSpec>(METRICS_OF[kind])) {
      if (this.#registry.getSingleMetric(name) === undefined) this.#declare(name, spec);
    }
  }

  /** Adds a reader of gauges; what is given back takes it away again. */
  atScrape(reader: GaugeReader): () => void {
    this.#readers.add(reader);
    return () => void this.#readers.delete(reader);
  }

  count<K extends CounterName>(name: K, labels: LabelsOf<K>, by = 1): void {
    this.#counters.get(name)?.inc(labels, by);
  }

  observe<K extends SpreadName>(name: K, labels: LabelsOf<K>, value: number): void {
    this.#spreads.get(name)?.observe(labels, value);
  }

  /** All metrics as Prometheus reads them. Scrapes at the same time share one. */
  scrape(): Promise<string> {
    this.#scraping ??= this.#scrape().finally(() => {
      this.#scraping = undefined;
    });
    return this.#scraping;
  }

  async #scrape(): Promise<string> {
    for (const gauge of this.#gauges.values()) {
      gauge.reset();
      gauge.remove({}); // of a gauge without labels a reset leaves a 0, which is a value like any other
    }
    const gauges: Gauging = {
      set: (name, labels, value) => {
        if (value !== undefined) this.#gauges.get(name)?.set(labels, Number(value));
      },
    };
    await Promise.all([...this.#readers].map((read) => read(gauges)));
    return this.#registry.metrics();
  }

  #declare(name: string, { type, help, labels, buckets = [], zeros = [] }: MetricSpec): void {
    const common = { name, help, labelNames: Object.keys(labels), registers: [this.#registry] };
    switch (type) {
      case "counter": {
        const counter = new Counter(common);
        for (const zero of zeros) counter.inc(zero, 0);
        this.#counters.set(name, counter);
        return;
      }
      case "gauge":
        this.#gauges.set(name, new Gauge(common));
        return;
      case "histogram":
        this.#spreads.set(name, new Histogram({ ...common, buckets: [...buckets] }));
        return;
      case "summary":
        this.#spreads.set(
          name,
          new Summary({
            ...common,
            percentiles: PERCENTILES,
            maxAgeSeconds: SUMMARY_AGE_S,
            ageBuckets: SUMMARY_AGE_BUCKETS,
          }),
        );
    }
  }
}
