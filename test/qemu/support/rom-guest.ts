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
  /** As `obedient`, but asleep between two looks at the button, so that dozens of it cost nothing. */
  patient: [...enablePowerManagement(), ...tickEvery55Ms(), ...sleepUntilPowerButton(0xffff), ...poweroff(), ...halt()],
  /** Powers off by itself after about 0.7 s. */
  brief: [...enablePowerManagement(), ...tickEvery55Ms(), ...sleepUntilPowerButton(12), ...poweroff(), ...halt()],
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

/** Interrupt 8 for every tick of the PIT's channel 0, as a BIOS has it; the stack stands at 0:7000. */
function tickEvery55Ms(): number[] {
  const handler = [0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf]; // push ax; end of interrupt; pop ax; iret
  return [
    ...[0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x70], // cli; ds = ss = 0; sp = 0x7000
    ...letPicThroughLocalApic(),
    ...[0xe8, handler.length, 0x00, ...handler], // call over the handler: its address is on the stack
    ...[0x8f, 0x06, 0x20, 0x00, 0xc7, 0x06, 0x22, 0x00, 0x00, 0xf0], // pop [0x20]; [0x22] = 0xf000
    ...[0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x08, 0xe6, 0x21, 0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21], // PIC
    ...[0xb0, 0xfe, 0xe6, 0x21], // only the timer
    ...[0xb0, 0x34, 0xe6, 0x43, 0x30, 0xc0, 0xe6, 0x40, 0xe6, 0x40, 0xfb], // PIT: mode 2, 65,536 counts; sti
  ];
}

/** Without firmware nobody has unmasked LINT0; its register is beyond 64 KiB, so `es` gets a segment of 4 GiB. */
function letPicThroughLocalApic(): number[] {
  const GDT = 0x500; // its second entry is the segment, its first place holds what lgdt reads
  const words: readonly (readonly [number, number])[] = [
    ...([0x000f, GDT, 0x0000].map((word, index) => [GDT + 2 * index, word]) as [number, number][]),
    ...([0xffff, 0x0000, 0x9200, 0x00cf].map((word, index) => [GDT + 8 + 2 * index, word]) as [number, number][]),
  ];
  return [
    ...words.flatMap(([at, word]) => [0xc7, 0x06, at & 0xff, at >> 8, word & 0xff, word >> 8]),
    ...[0x66, 0x0f, 0x01, 0x16, GDT & 0xff, GDT >> 8, 0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0], // lgdt; PE on
    ...[0xbb, 0x08, 0x00, 0x8e, 0xc3, 0x24, 0xfe, 0x0f, 0x22, 0xc0], // es = entry 1; PE off
    ...[0x26, 0x67, 0x66, 0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 0x01, 0x00, 0x00], // spurious vector: APIC on
    ...[0x26, 0x67, 0x66, 0xc7, 0x05, 0x50, 0x03, 0xe0, 0xfe, 0x00, 0x07, 0x00, 0x00], // LINT0: from the PIC
  ];
}

/** At most so many ticks; 0xffff is an hour. */
function sleepUntilPowerButton(ticks: number): number[] {
  return [
    ...outWord(0x602, 0x0100), // PM1_EN: the power button
    ...[0xb9, ticks & 0xff, ticks >> 8], // mov cx, ticks
    ...[0xf4, 0xba, 0x00, 0x06, 0xed], // again: hlt; in ax, 0x600 (PM1_STS)
    ...[0xf6, 0xc4, 0x01], // test ah, 1
    ...[0x75, 0x02], // jnz out
    ...[0xe2, 0xf4], // loop again
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
