import fc from "fast-check";
import { expect, test } from "vitest";
import { type ConsoleLook, type ConsolePosition, consoleStep } from "../../../src/producer/console-step.ts";

/** A reader that is shown one state of Redis after the other; gives what it wrote for each. */
function reader(firstBytes = 65_536) {
  let position: ConsolePosition | undefined;
  return (look: Omit<ConsoleLook, "firstBytes">): string => {
    const step = consoleStep(position, { ...look, firstBytes });
    position = step.position;
    return Buffer.concat(step.pieces).toString("latin1");
  };
}
const live = (epoch: number, startOffset: number, text: string) => ({
  epoch,
  window: { startOffset, data: Buffer.from(text, "latin1") },
  tail: undefined,
});
const over = (epoch: number, tail: string | undefined) => ({ epoch, window: undefined, tail });

test("a reader from the start gets every byte once, to the end", () => {
  const look = reader();
  expect(look(over(0, undefined))).toBe("");
  expect(look(live(1, 0, "boot"))).toBe("boot");
  expect(look(live(1, 0, "boot"))).toBe("");
  expect(look(live(1, 2, "oting\nup\n"))).toBe("ing\nup\n");
  expect(look(over(1, "booting\nup\nbye\n"))).toBe("bye\n");
  expect(look(over(1, "booting\nup\nbye\n"))).toBe("");
});

test("a reader that comes late begins with the last bytes it asked for", () => {
  expect(reader(3)(live(1, 100, "abcdef"))).toBe("def");
  expect(reader(0)(live(1, 100, "abcdef"))).toBe("");
  expect(reader(3)(over(1, "abcdef"))).toBe("def");
  expect(reader(0)(over(1, "abcdef"))).toBe("");
  expect(reader(99)(over(1, undefined))).toBe("");
});

test("a reader that asked for no past still gets all of a launch that begins later", () => {
  const look = reader(0);
  expect(look(over(0, undefined))).toBe("");
  expect(look(live(1, 0, "boot"))).toBe("boot");
});

test("bytes that left the window before they were read are said", () => {
  const look = reader();
  expect(look(live(1, 0, "abc"))).toBe("abc");
  expect(look(live(1, 10, "xyz"))).toBe("\n[drover: 7 bytes of the console were lost here]\nxyz");
});

test("the lines that are kept of a launch go on where the window stopped, or say that something is missing", () => {
  const look = reader();
  look(live(1, 0, "line 1\nline 2\n"));
  expect(look(over(1, "line 2\nline 3\n")), "the kept lines begin later than what was written").toBe(
    "\n[drover: some bytes of the console were lost here]\nline 2\nline 3\n",
  );
  const whole = reader();
  whole(live(1, 0, "line 2\n"));
  expect(whole(over(1, "line 1\nline 2\nline 3\n"))).toBe("line 3\n");
});

test("the next launch is read from its first byte", () => {
  const look = reader();
  expect(look(live(1, 0, "first"))).toBe("first");
  expect(look(over(1, "first!"))).toBe("!");
  expect(look(live(2, 0, "second"))).toBe("second");
  expect(look(over(2, "second\n"))).toBe("\n");
});

test("a launch that began and another that ended between two looks lose nothing that is kept", () => {
  const look = reader();
  expect(look(live(1, 0, "first"))).toBe("first");
  expect(look({ ...live(2, 0, "second"), tail: "first!" })).toBe("!second");
});

test("kept lines of an earlier launch are not written again when the next one ends without any", () => {
  const look = reader();
  look(live(1, 0, "first"));
  expect(look(over(1, "first\n"))).toBe("\n");
  expect(look(over(2, "first\n"))).toBe("");
  expect(look(over(3, "first\n"))).toBe("");
});

test("two launches with the very same output are both written", () => {
  const look = reader();
  expect(look(live(1, 0, "panic"))).toBe("panic");
  expect(look(over(1, "panic\n"))).toBe("\n");
  expect(look(live(2, 0, "pan"))).toBe("pan");
  expect(look(over(2, "panic\n"))).toBe("ic\n");
});

test("whatever the moments of looking and the size of the window: without loss all bytes come once, in order", () => {
  fc.assert(
    fc.property(
      fc.string({ maxLength: 300 }),
      fc.array(fc.nat(300), { maxLength: 20 }),
      fc.integer({ min: 1, max: 400 }),
      (text, looks, window) => {
        const bytes = Buffer.from(text, "utf8");
        const look = reader();
        let written = look(over(0, undefined));
        for (const end of looks.map((at) => Math.min(at, bytes.length)).sort((a, b) => a - b)) {
          const start = Math.max(0, end - window);
          written += look({
            epoch: 1,
            window: { startOffset: start, data: bytes.subarray(start, end) },
            tail: undefined,
          });
        }
        const plain = written.replace(/\n\[drover: \d+ bytes of the console were lost here\]\n/g, "");
        const last = Math.max(0, ...looks.map((at) => Math.min(at, bytes.length)));
        // What was written is a run of pieces of the console that ends where the last look ended.
        expect(
          bytes
            .subarray(0, last)
            .toString("latin1")
            .endsWith(plain.slice(-Math.min(window, plain.length))),
        ).toBe(true);
        if (!written.includes("[drover:")) expect(plain).toBe(bytes.subarray(0, last).toString("latin1"));
      },
    ),
  );
});

test("the kept lines end with LF where the serial console sent CR LF, and nothing is written twice for that", () => {
  const look = reader();
  expect(look(live(1, 0, "boot\r\nup\r\n"))).toBe("boot\r\nup\r\n");
  expect(look(over(1, "boot\nup\nbye\n"))).toBe("bye\n");
  const cut = reader();
  cut(live(1, 0, "boot\r\nup\r"));
  expect(cut(over(1, "boot\nup\nbye\n"))).toBe("\nbye\n");
});
