import { writeFile } from "node:fs/promises";

/**
 * Guests of a few bytes, for tests of what QEMU does when a guest acts: no kernel, no boot time. The code stands in a
 * firmware image of 64 KiB where the reset vector (16 bytes below its end) jumps to it, in 16-bit real mode. For q35.
 */
const ROM_GUESTS = {
  /** Stands still. */
  idle: [...halt()],
  poweroff: [...enablePowerManagement(), ...poweroff(), ...halt()],
  /** Waits for the ACPI power button and powers off then. */
  obedient: [...enablePowerManagement(), ...awaitPowerButton(), ...poweroff(), ...halt()],
  reboot: [...reboot(), ...halt()],
  /** Waits for the ACPI power button and reboots then. */
  rebootOnButton: [...enablePowerManagement(), ...awaitPowerButton(), ...reboot(), ...halt()],
  /** Tells the pvpanic device (port 0x505) that it has panicked. */
  panic: [...outByte(0x505, 0x01), ...halt()],
  hello: [..."hello from the guest\r\n"].flatMap((char) => outByte(0x3f8, char.charCodeAt(0))).concat(halt()),
  /** Writes to the serial port for ever, as fast as it can. */
  flood: [0xba, 0xf8, 0x03, 0xb0, 0x61, 0xee, 0x04, 0x01, 0x24, 0x7f, 0xeb, 0xf9],
} as const satisfies Record<string, readonly number[]>;

export type RomGuest = keyof typeof ROM_GUESTS;

/** Writes the firmware image of a guest; QEMU takes it as `-bios`. */
export async function writeRom(path: string, guest: RomGuest): Promise<void> {
  const sizeBytes = 64 * 1024;
  const codeAt = 0xf000;
  const resetAt = sizeBytes - 16;
  const rom = Buffer.alloc(sizeBytes);
  rom.set(ROM_GUESTS[guest], codeAt);
  rom[resetAt] = 0xe9; // jmp rel16
  rom.writeInt16LE(codeAt - (resetAt + 3), resetAt + 1);
  await writeFile(path, rom);
}

/** ICH9: without firmware nobody has said where its power management registers stand. */
function enablePowerManagement(): number[] {
  return [
    ...writePci(0x40, [0x66, 0xb8, 0x01, 0x06, 0x00, 0x00], [0x66, 0xef]),
    ...writePci(0x44, [0xb0, 0x80], [0xee]),
  ];
}

/** Writes a configuration register of device 0:1f.0: `load` fills al or eax, `out` sends it. */
function writePci(register: number, load: readonly number[], out: readonly number[]): number[] {
  const select = [0x66, 0xb8, register, 0xf8, 0x00, 0x80, 0xba, 0xf8, 0x0c, 0x66, 0xef];
  return [...select, ...load, 0xba, 0xfc, 0x0c, ...out];
}

/** PM1_CNT: sleep type 0, sleep enable. */
function poweroff(): number[] {
  return outWord(0x604, 0x2000);
}

function awaitPowerButton(): number[] {
  return [
    ...outWord(0x602, 0x0100), // PM1_EN: the power button
    ...[0xba, 0x00, 0x06], // again: mov dx, 0x600 (PM1_STS)
    ...[0xed], // in ax, dx
    ...[0xf6, 0xc4, 0x01], // test ah, 1
    ...[0x74, 0xf7], // jz again
  ];
}

function reboot(): number[] {
  return outByte(0xcf9, 0x06);
}

function outByte(port: number, value: number): number[] {
  return [0xb0, value, 0xba, port & 0xff, port >> 8, 0xee];
}

function outWord(port: number, value: number): number[] {
  return [0xb8, value & 0xff, value >> 8, 0xba, port & 0xff, port >> 8, 0xef];
}

function halt(): number[] {
  return [0xf4, 0xeb, 0xfd];
}
