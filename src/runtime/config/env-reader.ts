import type { FieldProblem } from "../../contract/errors.ts";
import { maskUrlPasswords } from "./url-password.ts";
import { type AnyVariable, type ProcessFacts, ValueRefused, type Variable } from "./variable.ts";

export type Env = Readonly<Record<string, string | undefined>>;

/** Where the value in force came from. */
export interface ReadVariable {
  readonly variable: AnyVariable;
  /** The text in force: as it was set, or the default. */
  readonly text: string;
  readonly source: "env" | "alias" | "default";
  /** The name that it was set under. */
  readonly setAs: string | undefined;
}

/** A part of another variable's value that serves as the text of this one. */
interface StandIn {
  readonly text: string;
  readonly setAs: string;
}

const SHOWN_VALUE_MAX_CHARS = 120;

/**
 * Reads variables out of an environment and collects what is wrong instead of stopping, so that all problems are known
 * at once. An empty text counts as unset, as in Cocos's env library.
 */
export class EnvReader {
  readonly problems: FieldProblem[] = [];
  readonly reads: ReadVariable[] = [];
  readonly #env: Env;
  readonly #facts: ProcessFacts;
  readonly #standIns = new Map<string, StandIn>();

  constructor(env: Env, facts: ProcessFacts) {
    this.#env = env;
    this.#facts = facts;
  }

  /** The variable's value; on a problem that of its default, and the problem is noted. */
  read<T>(variable: Variable<T>): T {
    const [set, ...more] = [variable.name, ...variable.aliases].filter((name) => this.#hasText(name));
    if (set === undefined) return this.#readStandIn(variable);
    const text = this.#env[set] ?? "";
    this.reads.push({ variable, text, source: set === variable.name ? "env" : "alias", setAs: set });
    const parsed = this.#parse(variable, set, text);
    for (const other of more) this.#compare(variable, set, other, parsed);
    return parsed === undefined ? variable.type.parse(variable.default) : parsed.value;
  }

  note(field: string, message: string): void {
    this.problems.push({ field, message });
  }

  /** Whether the environment sets the variable, under whichever name. */
  isSet({ name, aliases }: AnyVariable): boolean {
    return [name, ...aliases].some((each) => this.#hasText(each));
  }

  /** Gives an unset variable a text that another variable has set. Before it is read. */
  standIn({ name }: AnyVariable, standIn: StandIn): void {
    this.#standIns.set(name, standIn);
  }

  #readStandIn<T>(variable: Variable<T>): T {
    const standIn = this.#standIns.get(variable.name);
    if (standIn === undefined) return this.#readDefault(variable);
    this.reads.push({ variable, ...standIn, source: "alias" });
    return this.#parse(variable, standIn.setAs, standIn.text)?.value ?? variable.type.parse(variable.default);
  }

  #hasText(name: string): boolean {
    return (this.#env[name] ?? "") !== "";
  }

  #readDefault<T>(variable: Variable<T>): T {
    const text = variable.defaultFor?.of(this.#facts) ?? variable.default;
    this.reads.push({ variable, text, source: "default", setAs: undefined });
    try {
      return variable.type.parse(text);
    } catch (error) {
      if (!(error instanceof ValueRefused)) throw error;
      this.note(
        variable.name,
        `its default here, ${JSON.stringify(text)}, ${error.message}. Set it: ${variable.type.allowed}.`,
      );
      return variable.type.parse(variable.default);
    }
  }

  #parse<T>(variable: Variable<T>, name: string, text: string): { readonly value: T } | undefined {
    try {
      return { value: variable.type.parse(text) };
    } catch (error) {
      if (!(error instanceof ValueRefused)) throw error;
      const detail = error.message === "" ? "" : ` (${error.message})`;
      const shown = shownValue(variable, text);
      this.note(name, `${shown} is not allowed${detail}; allowed: ${variable.type.allowed}. ${wayOut(variable)}`);
      return undefined;
    }
  }

  #compare<T>(variable: Variable<T>, first: string, second: string, parsed: { readonly value: T } | undefined): void {
    const other = this.#env[second] ?? "";
    const otherParsed = this.#parse(variable, second, other);
    if (parsed === undefined || otherParsed === undefined || Object.is(parsed.value, otherParsed.value)) return;
    const mine = shownValue(variable, this.#env[first] ?? "");
    this.note(
      second,
      `${shownValue(variable, other)} contradicts ${first}, which is ${mine}: both name the same setting. Unset one of them.`,
    );
  }
}

/** The value as an error may show it: in quotes, cut, without secrets. */
function shownValue(variable: AnyVariable, text: string): string {
  if (variable.secret) return "the value (not shown)";
  const masked = maskUrlPasswords(text);
  return JSON.stringify(
    masked.length > SHOWN_VALUE_MAX_CHARS ? `${masked.slice(0, SHOWN_VALUE_MAX_CHARS)}...` : masked,
  );
}

function wayOut({ default: text, emptyMeans, defaultFor }: AnyVariable): string {
  if (defaultFor !== undefined) return `Or leave it unset: the default is ${defaultFor.text}.`;
  if (text === "") return emptyMeans === undefined ? "Or leave it unset." : `Or leave it unset: ${emptyMeans}.`;
  return `Or leave it unset: the default is ${text}.`;
}
