import { expect, test } from "vitest";
import { createLogger } from "../../../src/runtime/logger.ts";

function logged(write: (logger: ReturnType<typeof createLogger>) => void): Record<string, unknown>[] {
  const lines: string[] = [];
  write(createLogger({ level: "debug", name: "test", destination: { write: (line) => lines.push(line) } }));
  return lines.map((line) => JSON.parse(line));
}

test("lines are JSON with the level's name and an ISO time", () => {
  const [line] = logged((logger) => logger.info({ vmId: "a" }, "hello"));
  expect(line).toMatchObject({ level: "info", name: "test", vmId: "a", msg: "hello" });
  expect(String(line?.["time"])).toMatch(/^\d{4}-\d{2}-\d{2}T.*Z$/);
});

test("of an error only type, message, code, stack and causes are logged", () => {
  const error = Object.assign(new Error("refused", { cause: new TypeError("inner") }), {
    code: "E1",
    command: { name: "set", args: ["{drover}:box", "CANARY"] },
  });
  const [line] = logged((logger) => logger.error({ err: error }, "failed"));
  expect(line?.["err"]).toMatchObject({
    type: "Error",
    message: "refused",
    code: "E1",
    cause: { type: "TypeError", message: "inner" },
  });
  expect(JSON.stringify(line)).not.toContain("CANARY");
});

test("names of secrets are censored at the top and two levels down", () => {
  const secret = { awsSecretAccessKey: "CANARY", authorization: "CANARY", aaKbsParams: "CANARY" };
  const lines = logged((logger) => {
    logger.info(secret);
    logger.info({ a: secret });
    logger.info({ a: { b: secret } });
  });
  expect(lines).toHaveLength(3);
  expect(JSON.stringify(lines)).not.toContain("CANARY");
});

test("requests and replies are never logged whole", () => {
  const [line] = logged((logger) => logger.info({ req: { headers: { cookie: "CANARY" } }, res: { body: "CANARY" } }));
  expect(JSON.stringify(line)).not.toContain("CANARY");
});

test("a cycle of causes ends", () => {
  const error = new Error("loop");
  error.cause = error;
  const [line] = logged((logger) => logger.error({ err: error }));
  expect(JSON.stringify(line).length).toBeLessThan(20_000);
});
