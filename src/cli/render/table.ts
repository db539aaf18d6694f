import { displayWidth, printable, truncate } from "./text-width.ts";

export interface Column {
  readonly title: string;
  /** May be cut down to this many cells when the table is too wide; without it the column is never cut. */
  readonly shrinkTo?: number;
  /** Left out when no row has a value in it. */
  readonly optional?: boolean;
  readonly align?: "right";
}

export interface Cell {
  readonly text: string;
  readonly paint?: (text: string) => string;
}

const GAP = "  ";
const FLOOR_CHARS = 3;

/** Lines of a table that fits `width` cells, its heading first. Widest shrinkable columns give way first. */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  width: number,
): readonly string[] {
  const shown = columns.flatMap((column, index) => {
    const cells = rows.map((row) => row[index] ?? { text: "" });
    if (column.optional === true && cells.every((cell) => cell.text === "")) return [];
    const texts = cells.map((cell) => printable(cell.text));
    return [{ column, cells, texts, width: Math.max(...[column.title, ...texts].map(displayWidth)) }];
  });
  shrink(shown, width);
  const line = (cell: (one: (typeof shown)[number]) => string) => shown.map(cell).join(GAP).trimEnd();
  const lines = [line((one) => fitCell(one.column.title, one.width, one.column.align))];
  for (const index of rows.keys()) {
    lines.push(
      line((one) => {
        const text = fitCell(one.texts[index] ?? "", one.width, one.column.align);
        return one.cells[index]?.paint?.(text) ?? text;
      }),
    );
  }
  return lines;
}

/** First down to what each column should keep, then, where that is not enough, as far as it takes. */
function shrink(shown: { readonly column: Column; width: number }[], width: number): void {
  const total = () => shown.reduce((sum, one) => sum + one.width, 0) + GAP.length * (shown.length - 1);
  for (const floorOf of [(column: Column) => column.shrinkTo ?? 0, () => FLOOR_CHARS]) {
    while (total() > width) {
      const widest = shown
        .filter(({ column, width: now }) => column.shrinkTo !== undefined && now > floorOf(column))
        .sort((a, b) => b.width - a.width)[0];
      if (widest === undefined) break;
      widest.width -= 1;
    }
  }
}

function fitCell(text: string, width: number, align: "right" | undefined): string {
  const cut = truncate(text, width);
  const blanks = " ".repeat(Math.max(0, width - displayWidth(cut)));
  return align === "right" ? blanks + cut : cut + blanks;
}
