import { fastify } from "fastify";
import { expect, test } from "vitest";
import { accessRules } from "../../../src/producer/access/rules.ts";

const answer = async () => "";

test("a route without a rule, or a change without a name, cannot be registered", async () => {
  await using app = fastify();
  await app.register(accessRules);
  expect(() => app.get("/new", answer)).toThrow("the route GET /new has no access rule");
  expect(() => app.post("/new", { config: { access: "viewer" } }, answer)).toThrow(
    "the route POST /new changes something and has no name in the audit",
  );
  app.post("/named", { config: { access: "viewer", audit: "thing.make" } }, answer);
  app.get("/board/anything", answer);
  await expect(app.register(async (part) => void part.get("/inner", answer))).rejects.toThrow("/inner");
});
