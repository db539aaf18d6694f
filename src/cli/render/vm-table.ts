import type { VmView } from "../../contract/vm-view.ts";
import { formatAge } from "./age.ts";
import { type Paint, paintState } from "./paint.ts";
import { shortIdLength } from "./short-id.ts";
import { type Cell, type Column, renderTable } from "./table.ts";

const FULL_ID_CHARS = 36;

const COLUMNS: readonly Column[] = [
  { title: "ID" },
  { title: "STATE" },
  { title: "AGE", align: "right" },
  { title: "OWNER", shrinkTo: 8, optional: true },
  { title: "NAME", shrinkTo: 8, optional: true },
  { title: "HOST", shrinkTo: 8, optional: true },
  { title: "ADDRESS", shrinkTo: 21, optional: true },
  { title: "NOTE", shrinkTo: 16, optional: true },
];

/** The list of VMs as a table. Ids are cut to what tells them apart, unless the screen has room for all of them. */
export function renderVmTable(
  vms: readonly VmView[],
  screen: { columns: number; paint: Paint; nowMs: number },
): readonly string[] {
  const ids = vms.map(({ id }) => id);
  const showOwner = new Set(vms.map(({ owner }) => owner)).size > 1; // of one's own VMs it says nothing
  const rows = (idChars: number) => vms.map((vm) => row(vm, { idChars, showOwner, ...screen }));
  const render = (idChars: number) => renderTable(COLUMNS, rows(idChars), screen.columns);
  const full = renderTable(
    COLUMNS,
    rows(FULL_ID_CHARS).map((cells) => cells.map(({ text }) => ({ text }))),
    Number.POSITIVE_INFINITY,
  );
  const fullFits = full.every((line) => line.length <= screen.columns);
  return render(fullFits ? FULL_ID_CHARS : shortIdLength(ids));
}

function row(
  vm: VmView,
  { idChars, showOwner, paint, nowMs }: { idChars: number; showOwner: boolean; paint: Paint; nowMs: number },
): readonly Cell[] {
  return [
    { text: vm.id.slice(0, idChars) },
    { text: vm.state, paint: (text) => paintState(paint, vm.state, text) },
    { text: formatAge(nowMs - Date.parse(vm.createdAt)) },
    { text: showOwner ? vm.owner : "" },
    { text: vm.spec.name ?? "" },
    { text: vm.host ?? "" },
    { text: vm.address === null ? "" : hostAndPort(vm.address) },
    { text: note(vm) },
  ];
}

/** An address as clients write it; IPv6 in brackets. */
export function hostAndPort({ host, port }: { readonly host: string; readonly port: number }): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function note(vm: VmView): string {
  if (vm.hostStatus === "unreachable") return "host unreachable";
  if (vm.cause !== null) return vm.cause.code;
  if (vm.removal !== null && vm.state !== "removed" && vm.state !== "expired") return "being removed";
  if (vm.result?.exitCode != null) return `exit code ${vm.result.exitCode}`;
  return vm.state === "queued" && vm.priority !== "normal" ? `${vm.priority} priority` : "";
}
