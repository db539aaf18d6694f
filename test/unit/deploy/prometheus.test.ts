import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { strayMetrics } from "../../helpers/promql-names.ts";

const FOLDER = "deploy/prometheus";
const hasPromtool = spawnSync("promtool", ["--version"]).error === undefined;

const Rules = z.object({
  groups: z.array(
    z.object({
      name: z.string(),
      rules: z.array(
        z.strictObject({
          alert: z.string(),
          expr: z.string(),
          for: z.string().optional(),
          labels: z.strictObject({ severity: z.enum(["critical", "warning"]) }),
          annotations: z.strictObject({ summary: z.string().min(10), runbook_url: z.string() }),
        }),
      ),
    }),
  ),
});
const Tests = z.object({
  tests: z.array(
    z.object({
      name: z.string(),
      alert_rule_test: z.array(z.object({ alertname: z.string(), exp_alerts: z.array(z.unknown()) })),
    }),
  ),
});

const textOf = (name: string) => readFileSync(join(FOLDER, name), "utf8");
const alerts = Rules.parse(parse(textOf("drover.rules.yml"))).groups.flatMap(({ rules }) => rules);
const names = alerts.map(({ alert }) => alert);

const folder = mkdtempSync(join(tmpdir(), "drover-prometheus-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("the rules are there, each under a name of its own", () => {
  expect(names.length).toBeGreaterThan(25);
  expect(new Set(names).size).toBe(names.length);
});

test("a name that is not there is seen", () => {
  expect(strayMetrics("max by (pool) (drover_queue_vms) > 0")).toEqual([]);
  for (const [query, stray] of [
    ["drover_made_up > 1", "drover_made_up"],
    ['drover_vms{stat="queued"} > 1', "drover_vms{stat}"],
    ["max by (pool) (drover_vms) > 1", "by (pool)"],
    ["rate(drover_launch_phase_seconds[5m])", "drover_launch_phase_seconds"],
    ["manager_api_request_latency_microseconds_bucket", "manager_api_request_latency_microseconds_bucket"],
  ] as const)
    expect(strayMetrics(query), query).toEqual([stray]);
});

test.each(alerts)("$alert uses only metrics and labels that exist", ({ expr }) => {
  expect(strayMetrics(expr)).toEqual([]);
});

test("every alert has its section in the runbook, and no section of an alert is without one", () => {
  const sections = [...readFileSync("docs/runbook.md", "utf8").matchAll(/^## (.+)\n([\s\S]*?)(?=^## |$(?![\s\S]))/gm)];
  const ofAlerts = sections.filter(([, title = ""]) => /^(Drover|Cocos)[A-Z]/.test(title));
  expect(ofAlerts.map(([, title]) => title)).toEqual(names);
  for (const [, title, text] of ofAlerts)
    for (const part of ["What it means.", "What users notice.", "Look.", "Mend."])
      expect(text, `${title}: ${part}`).toContain(`**${part}**`);
  for (const { alert, annotations } of alerts)
    expect(annotations.runbook_url).toBe(`docs/runbook.md#${alert.toLowerCase()}`);
});

test("every alert is shown firing, and silent while all is well", () => {
  const { tests } = Tests.parse(parse(textOf("drover.rules.test.yml")));
  const shown = tests.flatMap(({ alert_rule_test }) => alert_rule_test);
  const firing = shown.filter(({ exp_alerts }) => exp_alerts.length > 0).map(({ alertname }) => alertname);
  const silent = shown.filter(({ exp_alerts }) => exp_alerts.length === 0).map(({ alertname }) => alertname);
  expect(firing.sort()).toEqual([...names].sort());
  expect(silent.sort()).toEqual([...names].sort());
});

test("promtool takes the configuration and the rules, and its tests of them pass", ({ skip }) => {
  if (!hasPromtool) skip("promtool (Debian's package prometheus) is not on this machine");
  cpSync(FOLDER, folder, { recursive: true });
  writeFileSync(join(folder, "drover-token"), "token");
  for (const args of [
    ["check", "config", "prometheus.yml"],
    ["check", "rules", "drover.rules.yml"],
    ["test", "rules", "drover.rules.test.yml"],
  ]) {
    const { status, stdout, stderr } = spawnSync("promtool", args, { cwd: folder, encoding: "utf8" });
    expect(status, `promtool ${args.join(" ")}\n${stdout}${stderr}`).toBe(0);
  }
});
