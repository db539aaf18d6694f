import type { FastifySchemaCompiler } from "fastify";
import { z } from "zod";
import { DroverError, type FieldProblem } from "../contract/errors.ts";
import { VmSecrets } from "../contract/vm-request.ts";
import { nearestField } from "./nearest-field.ts";

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** Parts of a request, in the words of the messages. */
const PART_NAMES: Readonly<Record<string, string>> = {
  body: "body",
  querystring: "query",
  params: "path",
  headers: "headers",
};
/** Fields whose values are never repeated: the secrets, and files, in whose place a key may stand by mistake. */
const UNQUOTED_FIELDS = new Set([...Object.keys(VmSecrets.shape), "agentCvmServerCaCert", "agentCvmClientCert"]);
const QUOTED_MAX_CHARS = 60;
/** A request can be wrong in thousands of places; nobody reads more than these, and each costs a little. */
const PROBLEMS_MAX = 50;

/**
 * Checks a part of a request by its schema. All that is wrong with it is reported at once, each with the field, the
 * value (never that of a secret or unknown field) and what is allowed.
 */
export const validatorCompiler: FastifySchemaCompiler<z.ZodType> = ({ schema, httpPart }) => {
  const check = partCheck(schema, PART_NAMES[httpPart ?? ""] ?? "request");
  return (data: unknown) => check(data);
};

/** The value of what a schema takes. Throws `invalid_request` as the routes do: all that is wrong at once. */
export function checkRequest<T>(schema: z.ZodType<T>, data: unknown): T {
  const checked = partCheck(schema, "request")(data);
  if ("error" in checked) throw checked.error;
  return checked.value;
}

function partCheck<T>(schema: z.ZodType<T>, part: string): (data: unknown) => { value: T } | { error: DroverError } {
  const fields = schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
  return (data) => {
    const result = schema.safeParse(data);
    if (result.success) return { value: result.data };
    const problems = result.error.issues
      .slice(0, PROBLEMS_MAX)
      .flatMap((issue) => issueProblems(issue, { data, part, path: issue.path, fields }))
      .slice(0, PROBLEMS_MAX);
    const detail = problems.map(({ field, message }) => `${field}: ${message}`).join("; ");
    return { error: new DroverError("invalid_request", detail, { problems }) };
  };
}

interface Place {
  readonly data: unknown;
  readonly part: string;
  readonly path: Path;
  /** Names that the part may have at its top. */
  readonly fields: readonly string[];
}

function issueProblems(issue: Issue, place: Place): FieldProblem[] {
  const { path, part } = place;
  if (issue.code === "unrecognized_keys") {
    return issue.keys.slice(0, PROBLEMS_MAX).map((key) => ({
      field: fieldName([...path, key.slice(0, QUOTED_MAX_CHARS)], part),
      message: unknownField(key, place),
    }));
  }
  if (issue.code === "invalid_union") {
    const branch = closestBranch(issue.errors);
    if (branch !== undefined)
      return branch.flatMap((inner) => issueProblems(inner, { ...place, path: [...path, ...inner.path] }));
  }
  if (issue.code === "invalid_key") {
    const message = issue.issues.map((inner) => lowerFirst(inner.message)).join("; ");
    return [{ field: fieldName(path, part), message: `the name is not allowed: ${message}` }];
  }
  return [{ field: fieldName(path, part), message: withValue(lowerFirst(issue.message), place) }];
}

/** The alternative that the sender most likely meant: one that fits at its top, else one of the right type. */
function closestBranch(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  const fitsAtTop = (issues: readonly Issue[]) => issues.every((issue) => issue.path.length > 0);
  const hasType = (issues: readonly Issue[]) => issues.every((issue) => issue.code !== "invalid_type");
  return branches.find(fitsAtTop) ?? branches.find(hasType) ?? branches[0];
}

function unknownField(key: string, { path, fields }: Place): string {
  const nearest = path.length === 0 ? nearestField(key, fields) : undefined;
  return nearest === undefined ? "is not known here" : `is not known here; did you mean ${nearest}?`;
}

function withValue(message: string, { data, path }: Place): string {
  if (UNQUOTED_FIELDS.has(String(path[0] ?? "")) || path.length === 0) return message;
  const value = valueAt(data, path);
  if (typeof value !== "string" && typeof value !== "number" && typeof value !== "boolean") return message;
  const quoted = JSON.stringify(value);
  if (message.includes(quoted)) return message;
  return `${message} (got ${quoted.length > QUOTED_MAX_CHARS ? `${quoted.slice(0, QUOTED_MAX_CHARS)}...` : quoted})`;
}

function valueAt(data: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, key) => (isObject(value) && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined),
    data,
  );
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

function fieldName(path: Path, part: string): string {
  return path.length === 0 ? part : path.map(String).join(".");
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
