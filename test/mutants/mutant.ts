/** A test that must turn red: by project and file, and by a piece of its name. */
export interface Killer {
  readonly project: "unit" | "redis" | "qemu" | "pages" | "e2e";
  readonly file: string;
  readonly test: string;
}

/**
 * One deliberate break of the source. `npm run test:mutants` applies it to a copy of the tree and expects that every
 * killer fails there. `before` stands in the file exactly once; one that does not any more is a failure, too.
 */
export interface Mutant {
  /** What the broken code does. */
  readonly name: string;
  readonly file: string;
  readonly before: string;
  readonly after: string;
  readonly killers: readonly Killer[];
  /** Why that must be seen. */
  readonly why: string;
}

/** Shorthand for the killers of one file. */
export function tests(project: Killer["project"], file: string): (test: string) => Killer {
  return (test) => ({ project, file: `test/${file}.test.ts`, test });
}
