import { GoSyntaxError, parseGoBool, parseGoInt } from "../../runtime/config/go-strconv.ts";
import { COCOS_CONFIG, type EnvField, type EnvStruct } from "./env-struct.ts";

export type CaseEnv = Readonly<Record<string, string>>;

/** Cocos refuses the environment; the message is that of its env library. */
export class CocosParseError extends Error {
  override readonly name = "CocosParseError";
}

/**
 * The values of Cocos's struct. One `parse` is one run of caarlos0/env (v10 without, v11 with the prefix; they agree
 * here): an empty variable counts as unset, an unset one is set to its default, and where that is empty the field keeps
 * what the run before left in it.
 */
export class EnvValues {
  readonly #byVariable = new Map<string, string | number | boolean>();

  /** Throws {@link CocosParseError} that names every value at fault, in the order of the fields. */
  parse(env: CaseEnv, prefix: string): void {
    const faults = COCOS_CONFIG.flatMap((entry) =>
      "fields" in entry ? this.#parseStruct(entry, env, prefix) : this.#parseField(entry, env, prefix),
    );
    if (faults.length > 0) throw new CocosParseError(`env: ${faults.join("; ")}`);
  }

  text(variable: string): string {
    return String(this.#byVariable.get(variable) ?? "");
  }

  int(variable: string): number {
    return Number(this.#byVariable.get(variable) ?? 0);
  }

  bool(variable: string): boolean {
    return this.#byVariable.get(variable) === true;
  }

  /** A field of struct type has no tag, so the library looks for a variable that is called like the prefix alone. */
  #parseStruct({ goName, fields }: EnvStruct, env: CaseEnv, prefix: string): readonly string[] {
    if (textOf(env, prefix) !== "") return [`no parser found for field "${goName}" of type "qemu.${goName}"`];
    return fields.flatMap((field) => this.#parseField(field, env, prefix));
  }

  #parseField(
    { goName, goType, env: variable, default: defaultText }: EnvField,
    env: CaseEnv,
    prefix: string,
  ): readonly string[] {
    const text = textOf(env, `${prefix}${variable}`) || defaultText;
    if (text === "") return [];
    try {
      const value = goType === "int" ? parseGoInt(text) : goType === "bool" ? parseGoBool(text) : text;
      if (variable !== "") this.#byVariable.set(variable, value);
      return [];
    } catch (error) {
      if (!(error instanceof GoSyntaxError)) throw error;
      return [`parse error on field "${goName}" of type "${goType}": ${error.message}`];
    }
  }
}

function textOf(env: CaseEnv, name: string): string {
  return Object.hasOwn(env, name) ? (env[name] ?? "") : "";
}
