/**
 * How the values in a QEMU option are written.
 * - `escaped`: QEMU's own rule, a comma in a value is doubled. For everything that is run.
 * - `verbatim`: as Cocos does it (plain `fmt.Sprintf`), where a comma ends the value and begins an option of its own.
 *   Only for showing what Cocos would run.
 */
export type OptionStyle = "escaped" | "verbatim";

export type OptionPair = readonly [key: string, value: string | number | boolean];

/**
 * The text of one QEMU option: `first` (a driver, a size; left out when empty), then key=value pairs. The only place
 * where values become option text. Source of the rule: get_opt_value in QEMU's util/qemu-option.c.
 */
export function qemuOption(style: OptionStyle, first: string, pairs: readonly OptionPair[]): string {
  const parts = pairs.map(([key, value]) => `${key}=${optionValue(style, String(value))}`);
  return (first === "" ? parts : [optionValue(style, first), ...parts]).join(",");
}

/** A text inside JSON that is handed to QEMU; Cocos does not escape there either. */
export function jsonValue(style: OptionStyle, value: string): string {
  return style === "escaped" ? JSON.stringify(value) : `"${value}"`;
}

function optionValue(style: OptionStyle, value: string): string {
  return style === "escaped" ? value.replaceAll(",", ",,") : value;
}
