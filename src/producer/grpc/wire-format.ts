const WIRE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;
/** A varint of 64 bits; field numbers and lengths have 32. */
const VARINT_MAX_BYTES = 10;
const FIELD_MAX = 2 ** 29 - 1;
const FIXED_BYTES: Readonly<Record<number, number>> = { [WIRE.fixed64]: 8, [WIRE.fixed32]: 4 };

/**
 * Whether bytes are a protobuf message whose fields of these numbers are texts or bytes, as all fields of our requests
 * are. Unknown fields may be of any kind but groups. The decoder itself takes more: it cuts a text off where the message
 * ends, cuts a number that no field can have, and reads a field as what it should be whatever the sender says that it is.
 */
export function isMessage(bytes: Uint8Array, fields: ReadonlySet<number>): boolean {
  for (let at = 0; at < bytes.length; ) {
    const key = readVarint(bytes, at);
    if (key === undefined) return false;
    const [number, wireType] = [Math.floor(key.value / 8), key.value % 8];
    if (number === 0 || number > FIELD_MAX || (fields.has(number) && wireType !== WIRE.bytes)) return false;
    const end = endOfField(bytes, { wireType, at: key.end });
    if (end === undefined || end > bytes.length) return false;
    at = end;
  }
  return true;
}

function endOfField(
  bytes: Uint8Array,
  { wireType, at }: { readonly wireType: number; readonly at: number },
): number | undefined {
  const fixed = FIXED_BYTES[wireType];
  if (fixed !== undefined) return at + fixed;
  const varint = readVarint(bytes, at);
  if (varint === undefined || wireType === WIRE.varint) return varint?.end;
  return wireType === WIRE.bytes ? varint.end + varint.value : undefined;
}

/** Large values lose their last digits, which only makes a length longer than any message. */
function readVarint(bytes: Uint8Array, at: number): { readonly value: number; readonly end: number } | undefined {
  let value = 0;
  for (let i = 0; i < VARINT_MAX_BYTES; i++) {
    const byte = bytes[at + i];
    if (byte === undefined) return undefined;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return { value, end: at + i + 1 };
  }
  return undefined;
}
