import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { strayMetrics } from "../../helpers/promql-names.ts";

const hasPromtool = spawnSync("promtool", ["--version"]).error === undefined;
const folder = mkdtempSync(join(tmpdir(), "drover-grafana-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const Source = z.strictObject({ type: z.literal("prometheus"), uid: z.string() });
const Place = z.strictObject({ h: z.int().min(1), w: z.int().min(1).max(24), x: z.int().min(0), y: z.int().min(0) });
/** What of Grafana's dashboards (schema 39, Grafana 10 and 11) must be so for the panels to show something. */
const Dashboard = z.looseObject({
  id: z.null(),
  uid: z.literal("drover"),
  title: z.string(),
  schemaVersion: z.literal(39),
  templating: z.strictObject({
    list: z.tuple([
      z.looseObject({ name: z.literal("datasource"), type: z.literal("datasource"), query: z.literal("prometheus") }),
    ]),
  }),
  panels: z.array(
    z.discriminatedUnion("type", [
      z.looseObject({ id: z.int(), type: z.literal("row"), title: z.string(), gridPos: Place }),
      ...(["stat", "timeseries"] as const).map((type) =>
        z.looseObject({
          id: z.int(),
          type: z.literal(type),
          title: z.string(),
          description: z.string().min(5),
          datasource: Source,
          gridPos: Place,
          targets: z
            .array(z.looseObject({ refId: z.string(), datasource: Source, expr: z.string(), legendFormat: z.string() }))
            .min(1),
        }),
      ),
    ]),
  ),
});

const dashboard = Dashboard.parse(JSON.parse(readFileSync("deploy/grafana/dashboards/drover.json", "utf8")));
const shown = dashboard.panels.flatMap((panel) => (panel.type === "row" ? [] : [panel]));
const queries = shown.flatMap(({ title, targets }) =>
  targets.map(({ expr, legendFormat }) => ({ title, expr, legendFormat })),
);

test("the dashboard shows fleet, queue, launches, failures, API and Redis, each panel under an id of its own", () => {
  const ids = dashboard.panels.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(shown.length).toBeGreaterThan(20);
  const rows = dashboard.panels.filter(({ type }) => type === "row").map(({ title }) => title);
  expect(rows).toEqual(["Fleet", "Queue", "Launches", "Workers", "API", "Redis and processes"]);
});

test("no panel lies on another or beside the page", () => {
  const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, index) => `${x + (index % w)},${y + Math.floor(index / w)}`),
  );
  expect(new Set(cells).size).toBe(cells.length);
  for (const { gridPos } of dashboard.panels) expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
});

test.each(queries)("$title asks only for what there is: $expr", ({ expr, legendFormat }) => {
  expect(strayMetrics(expr)).toEqual([]);
  const kept = /\bby \(([^)]*)\)/.exec(expr)?.[1]?.split(/, */);
  for (const [, label = ""] of legendFormat.matchAll(/\{\{(\w+)\}\}/g))
    if (kept !== undefined) expect(kept, "the legend names what the query drops").toContain(label);
});

test("promtool takes every query", ({ skip }) => {
  if (!hasPromtool) skip("promtool (Debian's package prometheus) is not on this machine");
  const rules = queries.map(({ expr }, index) => ({
    record: `drover:panel_${index}`,
    expr: expr.replaceAll("$__rate_interval", "5m"),
  }));
  const file = join(folder, "panels.yml");
  writeFileSync(file, JSON.stringify({ groups: [{ name: "panels", rules }] })); // JSON is YAML
  const { status, stdout, stderr } = spawnSync("promtool", ["check", "rules", file], { encoding: "utf8" });
  expect(status, `${stdout}${stderr}`).toBe(0);
});

test("every panel uses the data source that the reader has chosen", () => {
  for (const { datasource, targets } of shown)
    for (const { uid } of [datasource, ...targets.map((target) => target.datasource)])
      expect(uid).toMatch(/^\$\{datasource\}$/);
});

test("Grafana finds Prometheus and the dashboard by what it is provisioned with", () => {
  const read = (name: string): unknown => parse(readFileSync(`deploy/grafana/provisioning/${name}`, "utf8"));
  expect(read("datasources/prometheus.yml")).toMatchObject({ datasources: [{ type: "prometheus", isDefault: true }] });
  const { providers } = z
    .object({ providers: z.array(z.looseObject({ options: z.object({ path: z.string() }) })) })
    .parse(read("dashboards/drover.yml"));
  const compose = readFileSync("docker-compose.yml", "utf8");
  for (const { options } of providers) expect(compose).toContain(`./deploy/grafana/dashboards:${options.path}`);
});
