import { DroverError, type FieldProblem } from "../../contract/errors.ts";
import { type PemText, readPemText, TlsRefused } from "./pem-text.ts";

/** Collects what is wrong with the files of one TLS end instead of stopping, so that all problems are known at once. */
export class MaterialReader {
  readonly problems: FieldProblem[] = [];
  readonly warnings: FieldProblem[] = [];

  /** What `parse` makes of a variable's PEM text; undefined when it is unset, or a problem was noted. */
  read<T>(field: string, value: string, parse: (pem: PemText) => T): T | undefined {
    if (value === "") return undefined;
    return this.check(field, () => parse(readPemText(value)));
  }

  /** What `check` gives; undefined when it refused, and the reason is noted. */
  check<T>(field: string, check: () => T): T | undefined {
    try {
      return check();
    } catch (error) {
      if (!(error instanceof TlsRefused)) throw error;
      this.problems.push({ field, message: error.message });
      return undefined;
    }
  }

  warn(field: string, message: string | undefined): void {
    if (message !== undefined) this.warnings.push({ field, message });
  }
}

/** All problems of TLS in one `config_invalid`. */
export function tlsInvalid(problems: readonly FieldProblem[]): DroverError {
  const count = problems.length === 1 ? "a problem" : `${problems.length} problems`;
  const listed = problems.map(({ field, message }) => `\n  ${field}: ${message}`).join("");
  return new DroverError("config_invalid", `The TLS settings have ${count}:${listed}`, { problems });
}
