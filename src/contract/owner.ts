import { z } from "zod";
import { OWNER_MAX_CHARS } from "./limits.ts";

/**
 * Whose something is. The name becomes part of Redis keys, so it holds nothing that means something there (`:`, `{`,
 * `}`, `*`), nor blanks. `=`, `,` and `%` are for the owners that certificates stand for.
 */
export const Owner = z
  .string()
  .max(OWNER_MAX_CHARS)
  .regex(
    /^[A-Za-z0-9._@%=,+-]+$/,
    `must be 1 to ${OWNER_MAX_CHARS} of letters, digits and . _ @ % = , + -, for example "physics"`,
  );

/**
 * The owner that a certificate's subject stands for: the subject itself, with each byte that an owner's name cannot
 * hold, and `%`, written as `%XX`. So two subjects are never the same owner. Undefined when that is too long for a name.
 */
export function ownerOfSubject(subject: string): string | undefined {
  const bytes = [...new TextEncoder().encode(subject)];
  const owner = bytes.map(escaped).join("");
  return owner === "" || owner.length > OWNER_MAX_CHARS ? undefined : owner;
}

function escaped(byte: number): string {
  const char = String.fromCharCode(byte);
  return /[A-Za-z0-9._@=,+-]/.test(char) ? char : `%${byte.toString(16).padStart(2, "0").toUpperCase()}`;
}
