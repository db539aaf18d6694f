/**
 * Puts the defaults of a batch under what an item says itself, for the open part of a request or for its secrets; labels
 * are merged by name. An empty text hides a default and is dropped afterwards: it means "not set".
 */
export function withDefaults<Part extends object>(defaults: Part, own: Part): Part {
  const merged: Record<string, unknown> = Object.fromEntries([...Object.entries(defaults), ...Object.entries(own)]);
  const [below, above] = [labelsOf(defaults), labelsOf(own)];
  if (below !== undefined && above !== undefined) merged["labels"] = { ...below, ...above };
  return Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== "" && value !== undefined)) as Part;
}

function labelsOf(part: object): object | undefined {
  return "labels" in part && typeof part.labels === "object" && part.labels !== null ? part.labels : undefined;
}
