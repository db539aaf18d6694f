const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"] as const;

/** A size that people read in a sentence: "512 bytes", "1.5 GiB", "200 GiB". */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number(value.toFixed(value < 10 ? 1 : 0))} ${UNITS[unit]}`;
}
