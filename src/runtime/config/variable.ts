/** How a variable's text becomes a value. */
export interface ValueType<T> {
  /** What may be written, for people; goes into errors and docs: "a whole number from 1 to 255". */
  readonly allowed: string;
  /** The same in a word or two, for the table in the docs; `allowed` where it is left out. */
  readonly brief?: string;
  /** The value of a text. Throws {@link ValueRefused}; its message says more than `allowed` where there is more to say. */
  parse(text: string): T;
}

/** A text that its type does not take. */
export class ValueRefused extends Error {
  override readonly name = "ValueRefused";
}

/** What of the process a default may depend on. */
export interface ProcessFacts {
  readonly isRoot: boolean;
  /** HOME; empty when unset. */
  readonly homeDir: string;
}

/** Where a variable belongs in the docs and in `drover config`. */
export const VARIABLE_GROUPS = {
  manager: "Manager",
  http: "HTTP listener",
  grpc: "gRPC listener",
  machine: "QEMU: machine",
  firmware: "QEMU: firmware",
  network: "QEMU: network",
  boot: "QEMU: kernel and disk",
  tee: "QEMU: confidential computing",
  gpu: "QEMU: GPU",
  redis: "drover: Redis",
  host: "drover: this host",
  secrets: "drover: secrets",
  launch: "drover: launch and stop",
  keeping: "drover: upkeep and retention",
  fleet: "drover: leases and lost hosts",
  placement: "drover: what a host offers",
  batches: "drover: batches",
  watching: "drover: metrics",
  access: "drover: access",
  client: "drover: client commands",
  test: "drover: for tests of drover itself",
} as const;
export type VariableGroup = keyof typeof VARIABLE_GROUPS;

export interface Variable<T> {
  readonly name: string;
  /** Other names of the same variable. Two names with different values are an error. */
  readonly aliases: readonly string[];
  readonly type: ValueType<T>;
  /** The text that stands for an unset or empty variable. */
  readonly default: string;
  /** Where the default depends on the process; `text` says it for the docs. */
  readonly defaultFor?: { readonly text: string; of(facts: ProcessFacts): string };
  /** What an empty value means, in words; shown instead of the empty text. */
  readonly emptyMeans?: string;
  readonly group: VariableGroup;
  /** One sentence. */
  readonly doc: string;
  /** Never printed: not by `drover config`, not in an error. */
  readonly secret: boolean;
}

/** A variable whose value's type does not matter. */
export type AnyVariable = Variable<unknown>;

type VariableSpec<T> = Omit<Variable<T>, "aliases" | "secret"> & Partial<Pick<Variable<T>, "aliases" | "secret">>;

export function variable<T>(spec: VariableSpec<T>): Variable<T> {
  return { aliases: [], secret: false, ...spec };
}
