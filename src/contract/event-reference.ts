import { z } from "zod";
import { CloudEvent, EVENT_CATALOGUE } from "./vm-event.ts";

const Schema = z.looseObject({
  type: z.union([z.string().transform((type) => [type]), z.array(z.string())]).optional(),
  enum: z.array(z.unknown()).optional(),
  const: z.unknown().optional(),
  anyOf: z.array(z.unknown()).optional(),
  description: z.string().optional(),
  format: z.string().optional(),
  properties: z.record(z.string(), z.unknown()).optional(),
  required: z.array(z.string()).default([]),
  pattern: z.string().optional(),
});

/** A list of allowed values longer than this is named by where it stands. */
const LISTED_VALUES_MAX = 8;

const INTRODUCTION = `# Events

<!-- Made from the contract (src/contract/vm-event.ts). Change it there. -->

Everything that happens to a VM is an event in one stream. A state and its event are written together or not at all, and the events of one VM are numbered without holes. Read them with \`GET /v1/events\` or \`drover events --follow\`; how to resume after a lost connection is in [api.md](api.md#events). The newest \`DROVER_EVENTS_MAX\` events are kept.

## Envelope

Every event is a [CloudEvent 1.0](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md) in JSON (structured mode).
`;

/** The text of docs/events.md: every event with its data and when it happens. Pure; a test compares file and text. */
export function renderEventReference(): string {
  const sections = Object.entries(EVENT_CATALOGUE).map(
    ([type, { when, data }]) => `### ${type}\n\n${when}\n\n${fieldTable(data)}`,
  );
  return `${INTRODUCTION}\n${fieldTable(CloudEvent)}\n## Types\n\n${sections.join("\n")}`;
}

function fieldTable(schema: z.ZodType): string {
  const { properties = {}, required } = Schema.parse(z.toJSONSchema(schema, { unrepresentable: "any" }));
  const rows = Object.entries(properties).map(([name, property]) => {
    const parsed = Schema.parse(property);
    const presence = required.includes(name) ? "" : "Not always there. ";
    return `| \`${name}\` | ${typeText(parsed)} | ${cell(`${presence}${parsed.description ?? ""}`)} |`;
  });
  return `${["| field | type | meaning |", "|---|---|---|", ...rows].join("\n")}\n`;
}

function typeText(schema: z.infer<typeof Schema>): string {
  if (schema.const !== undefined) return code(schema.const);
  if (schema.enum !== undefined) {
    return schema.enum.length > LISTED_VALUES_MAX ? "one of a list" : schema.enum.map(code).join(" or ");
  }
  if (schema.anyOf !== undefined) return schema.anyOf.map((part) => typeText(Schema.parse(part))).join(" or ");
  if (schema.properties !== undefined) {
    const parts = Object.entries(schema.properties).map(
      ([name, part]) => `\`${name}\`: ${typeText(Schema.parse(part))}`,
    );
    return `object with ${parts.join(", ")}`;
  }
  const type = schema.type?.join(" or ") ?? "any";
  return schema.format === undefined ? type : `${type} (${schema.format})`;
}

function code(value: unknown): string {
  return `\`${String(value)}\``;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").trim();
}
