/**
 * @typedef {object} Frame A message of a stream of server-sent events.
 * @property {string} type
 * @property {string} data Empty where only the place in the stream was told.
 * @property {string | undefined} id
 */

/**
 * Cuts the text of a stream into frames, however its pieces arrive. Drover's own streams end lines with a line feed.
 * @returns {(piece: string) => Frame[]} takes the next piece and gives the frames that it ends
 */
export function frameReader() {
  let rest = "";
  return (piece) => {
    const blocks = (rest + piece).split("\n\n");
    rest = blocks.pop() ?? "";
    return blocks.map(toFrame);
  };
}

/** @param {string} block */
function toFrame(block) {
  /** @type {Frame} */
  const frame = { type: "message", data: "", id: undefined };
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    const field = at === -1 ? line : line.slice(0, at);
    const value = at === -1 ? "" : line.slice(at + 1).replace(/^ /, "");
    if (field === "event") frame.type = value;
    else if (field === "data") frame.data += frame.data === "" ? value : `\n${value}`;
    else if (field === "id") frame.id = value;
  }
  return frame;
}
