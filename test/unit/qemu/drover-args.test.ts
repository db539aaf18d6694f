import { expect, test } from "vitest";
import { type DroverLayer, droverArgs } from "../../../src/qemu/drover-args.ts";

const layer: DroverLayer = {
  vmId: "11111111-2222-4333-8444-555555555555",
  epoch: 3,
  pidFile: "/vm/qemu.pid",
  qmpSockets: ["/vm/qmp.sock", "/vm/a,b.sock"],
  tee: "none",
  shares: { certs: true, env: true },
  sharesReadonly: true,
  sandbox: true,
  resultPort: false,
  endOnReboot: false,
};

test("the layer has its parts in their order", () => {
  expect(droverArgs({ ...layer, resultPort: true, endOnReboot: true })).toEqual([
    ...["-uuid", "11111111-2222-4333-8444-555555555555"],
    ...["-name", "drover-11111111-2222-4333-8444-555555555555-3"],
    ...["-pidfile", "/vm/qemu.pid"],
    ...["-chardev", "socket,id=qmp0,path=/vm/qmp.sock,server=on,wait=off", "-mon", "chardev=qmp0,mode=control"],
    ...["-chardev", "socket,id=qmp1,path=/vm/a,,b.sock,server=on,wait=off", "-mon", "chardev=qmp1,mode=control"],
    "-no-shutdown",
    ...["-chardev", "ringbuf,id=console,size=1048576", "-serial", "chardev:console"],
    ...["-device", "virtio-serial-pci,id=drover-serial", "-chardev", "ringbuf,id=result,size=262144"],
    ...["-device", "virtserialport,bus=drover-serial.0,chardev=result,name=drover.result"],
    ...["-device", "pvpanic"],
    "-no-reboot",
    ...["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
    ...["-set", "fsdev.cert_fs.readonly=on", "-set", "fsdev.env_fs.readonly=on"],
  ]);
});

test.each([
  ["a result port", { resultPort: true }, "virtserialport"],
  ["an end on reboot", { endOnReboot: true }, "-no-reboot"],
])("%s comes only when it is asked for", (_what, asked, part) => {
  expect(droverArgs(layer).join(" ")).not.toContain(part);
  expect(droverArgs({ ...layer, ...asked }).join(" ")).toContain(part);
});

test("sandbox and read-only shares can be switched off", () => {
  const args = droverArgs({ ...layer, sandbox: false, sharesReadonly: false });
  expect(args).not.toContain("-sandbox");
  expect(args).not.toContain("-set");
});

test("a share that the command does not have is not changed", () => {
  expect(droverArgs({ ...layer, shares: { certs: false, env: true } }).slice(-2)).toEqual([
    "-set",
    "fsdev.env_fs.readonly=on",
  ]);
});

test.each(["snp", "tdx"] as const)("a guest under %s has no pvpanic device", (tee) => {
  expect(droverArgs({ ...layer, tee })).not.toContain("pvpanic");
});
