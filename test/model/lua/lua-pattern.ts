const CLASSES: Readonly<Record<string, string>> = { d: "\\d", s: "\\s", w: "[A-Za-z0-9]", a: "[A-Za-z]" };
const compiled = new Map<string, RegExp>();

/** What a Lua pattern finds: its captures, or the whole where it has none. */
export function matchPattern(text: string, pattern: string): { readonly captures: readonly string[] } | undefined {
  let expression = compiled.get(pattern);
  if (expression === undefined) {
    expression = new RegExp(translate(pattern), "s");
    compiled.set(pattern, expression);
  }
  const found = expression.exec(text);
  if (found === null) return undefined;
  return { captures: found.length > 1 ? found.slice(1) : [found[0]] };
}

/** The few forms that the scripts use. Throws on others. */
function translate(pattern: string): string {
  if (/%[bf0-9]|-/.test(pattern)) throw new Error(`a Lua pattern that is not known here: ${pattern}`);
  return pattern.replace(/%(.)/g, (_whole, escaped: string) => CLASSES[escaped] ?? `\\${escaped}`);
}
