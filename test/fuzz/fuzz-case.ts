import fc from "fast-check";

/** One input, as it goes onto a connection. */
export interface FuzzCase {
  /** What is wrong with it. */
  readonly what: string;
  readonly bytes: Buffer;
  /**
   * - `malformed`: by the way it was made it can be nothing else, so the answer is a refusal.
   * - `wild`: may turn out valid by chance, or does no harm.
   */
  readonly kind: "malformed" | "wild";
  /** It ends where its framing says so: an answer must come without a sign that nothing follows. */
  readonly complete: boolean;
  /** Which listener the bytes go to; `http` when left out. */
  readonly protocol?: "http" | "grpc";
  /** A call of gRPC: `bytes` are the body of an HTTP/2 request with this head. */
  readonly call?: { readonly path: string; readonly headers: Readonly<Record<string, string>> };
}

/** The cases `from` up to `from + count` of a seed; each depends on its number and the seed alone. */
export function casesOf(
  arbitrary: fc.Arbitrary<FuzzCase>,
  { seed, from, count }: { readonly seed: number; readonly from: number; readonly count: number },
): FuzzCase[] {
  return Array.from({ length: count }, (_, i) => {
    const [fuzzCase] = fc.sample(arbitrary, { seed: mix(seed, from + i), numRuns: 1 });
    if (fuzzCase === undefined) throw new Error("fast-check gave no sample");
    return fuzzCase;
  });
}

/** Neighbouring numbers give seeds that have nothing in common. */
function mix(seed: number, index: number): number {
  let hash = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(index + 1, 0xc2b2ae35);
  hash = Math.imul(hash ^ (hash >>> 15), 0x27d4eb2f);
  return (hash ^ (hash >>> 13)) | 0;
}
