/**
 * What `drover` ends with. Public: scripts branch on these, so a number is never given another meaning.
 * docs/cli.md lists them and a test compares.
 */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  unreachable: 4,
  timeout: 5,
  endedEarly: 6,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_MEANINGS: Readonly<Record<keyof typeof EXIT, string>> = {
  ok: "done; with --wait: the VM completed, or is removed as asked",
  failed: "the VM failed, or any error that has no number of its own",
  usage: "wrong usage, a request that the API refused, or an invalid configuration",
  notFound: "no VM, host or batch has this id",
  unreachable: "the API, or the queue behind it, cannot be reached",
  timeout: "a time limit passed while the VM goes on (--timeout)",
  endedEarly: "with --wait: the VM was removed or its time limit ended it",
  interrupted: "interrupted by Ctrl-C",
};

/** The table of exit codes, as `--help` and the docs show it. */
export function exitCodeLines(): readonly string[] {
  return (Object.keys(EXIT) as (keyof typeof EXIT)[]).map(
    (key) => `${String(EXIT[key]).padStart(5)}  ${EXIT_MEANINGS[key]}`,
  );
}
