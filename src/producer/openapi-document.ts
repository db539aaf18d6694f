import { z } from "zod";

/** Headers that all answers of the API carry. */
const ALWAYS = { "X-Request-Id": "Names this request in the server's log." };
/** Headers of single answers, by operation and status. */
const SOMETIMES: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, string>>>>>> = {
  submitVm: {
    "202": {
      Location: "Path of the VM.",
      "Preference-Applied": "`wait=N` when the wait was honoured, with the seconds as cut.",
    },
    "200": {
      Location: "Path of the VM.",
      "Preference-Applied": "`wait=N` when the wait was honoured, with the seconds as cut.",
    },
  },
  removeVm: {
    "200": { "Preference-Applied": "As for submitVm." },
    "202": { "Preference-Applied": "As for submitVm." },
  },
  submitBatch: { "202": { Location: "Path of the batch." }, "200": { Location: "Path of the batch." } },
  retryVm: { "202": { Location: "Path of the VM.", "Preference-Applied": "As for submitVm." } },
};
/** Bodies that are read as they come, so that no schema of a route checks them as a whole. */
const BODIES: Readonly<Record<string, object>> = {
  submitBatch: {
    required: true,
    content: {
      "application/json": { schema: { $ref: "#/components/schemas/BatchRequest" } },
      "application/x-ndjson": {
        schema: { type: "string", description: 'A VmRequest on each line; the first line may be {"batch": ...}.' },
      },
    },
  },
};
/** Headers that go with a status, whatever the route. */
const BY_STATUS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "401": { "WWW-Authenticate": "`Bearer`: a token would do." },
  "429": { "Retry-After": "Seconds until another try makes sense." },
  "503": { "Retry-After": "Seconds until another try makes sense." },
};

const Document = z.looseObject({
  paths: z.record(z.string(), z.record(z.string(), z.unknown())).default({}),
  components: z.looseObject({ schemas: z.record(z.string(), z.unknown()).default({}) }).default({ schemas: {} }),
});
const Operation = z.looseObject({
  operationId: z.string().optional(),
  responses: z.record(z.string(), z.looseObject({})).optional(),
});

/**
 * Finishes an OpenAPI document: adds response headers and streamed bodies, which the schemas of the routes have no place for,
 * and merges the two copies of each named schema (as read and as written), which are the same for all of ours.
 */
export function finishDocument(document: object): object {
  const merged: unknown = JSON.parse(JSON.stringify(document), (_name, value: unknown) =>
    typeof value === "string" ? value.replace(/^(#\/components\/schemas\/\w+)Input$/, "$1") : value,
  );
  const { paths, components, ...rest } = Document.parse(merged);
  const described = mapValues(paths, (methods) => mapValues(methods, finishOperation));
  const schemas = Object.fromEntries(Object.entries(components.schemas).filter(([name]) => !name.endsWith("Input")));
  return { ...rest, paths: described, components: { ...components, schemas } };
}

function finishOperation(operation: unknown): unknown {
  const parsed = Operation.safeParse(operation);
  if (!parsed.success || parsed.data.responses === undefined) return operation;
  const { operationId = "", responses } = parsed.data;
  const described = Object.entries(responses).map(([status, response]) => {
    const headers = { ...ALWAYS, ...BY_STATUS[status], ...SOMETIMES[operationId]?.[status] };
    return [status, { ...response, headers: mapValues(headers, header) }];
  });
  const requestBody = BODIES[operationId];
  return {
    ...parsed.data,
    ...(requestBody === undefined ? {} : { requestBody }),
    responses: Object.fromEntries(described),
  };
}

function header(description: string): object {
  return { description, schema: { type: "string" } };
}

function mapValues<In, Out>(record: Readonly<Record<string, In>>, map: (value: In) => Out): Record<string, Out> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]));
}
