import { z } from "zod";

/** Headers that all answers of the API carry. */
const ALWAYS = { "X-Request-Id": "Names this request in the server's log." };
/** Headers of single answers, by operation and status. */
const SOMETIMES: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, string>>>>>> = {
  submitVm: {
    "202": { Location: "Path of the VM.", "Preference-Applied": "`wait=N` when the wait was honoured, with the seconds as cut." },
    "200": { Location: "Path of the VM.", "Preference-Applied": "`wait=N` when the wait was honoured, with the seconds as cut." },
  },
  removeVm: { "200": { "Preference-Applied": "As for submitVm." }, "202": { "Preference-Applied": "As for submitVm." } },
  retryVm: { "202": { Location: "Path of the VM.", "Preference-Applied": "As for submitVm." } },
};
/** Headers that go with a status, whatever the route. */
const BY_STATUS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "429": { "Retry-After": "Seconds until another try makes sense." },
  "503": { "Retry-After": "Seconds until another try makes sense." },
};

const Operation = z.looseObject({ operationId: z.string().optional(), responses: z.record(z.string(), z.looseObject({})).optional() });

/** Writes the response headers into an OpenAPI document, which the schemas of the routes have no place for. */
export function addResponseHeaders<Document extends object>(document: Document): Document {
  const { paths } = z.looseObject({ paths: z.record(z.string(), z.record(z.string(), z.unknown())).default({}) }).parse(document);
  const described = Object.fromEntries(
    Object.entries(paths).map(([path, methods]) => [path, Object.fromEntries(Object.entries(methods).map(([method, operation]) => [method, withHeaders(operation)]))]),
  );
  return { ...document, paths: described };
}

function withHeaders(operation: unknown): unknown {
  const parsed = Operation.safeParse(operation);
  if (!parsed.success || parsed.data.responses === undefined) return operation;
  const { operationId = "", responses } = parsed.data;
  const described = Object.entries(responses).map(([status, response]) => {
    const headers = { ...ALWAYS, ...BY_STATUS[status], ...SOMETIMES[operationId]?.[status] };
    return [status, { ...response, headers: Object.fromEntries(Object.entries(headers).map(([name, text]) => [name, header(text)])) }];
  });
  return { ...parsed.data, responses: Object.fromEntries(described) };
}

function header(description: string): object {
  return { description, schema: { type: "string" } };
}
