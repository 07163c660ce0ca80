/** ONNX: what a model file says of itself, which the runtime keeps to itself. */

// https://github.com/onnx/onnx/blob/main/onnx/onnx.proto: field numbers of the messages
const METADATA_PROPS = 14; // of ModelProto
const KEY = 1; // of StringStringEntryProto
const VALUE = 2;

/**
 * The metadata of a model, by key.
 * @param {Uint8Array} file
 * @returns {Map<string, string>}
 * @throws {RangeError} it is not Protocol Buffers
 */
export function metadataOf(file) {
  const decoder = new TextDecoder();
  /** @type {Map<string, string>} */
  const found = new Map();
  for (const { field, bytes } of fields(file)) {
    if (field !== METADATA_PROPS || !bytes) continue;
    const entry = new Map([...fields(bytes)].map((part) => [part.field, decoder.decode(part.bytes)]));
    found.set(entry.get(KEY) ?? '', entry.get(VALUE) ?? '');
  }
  return found;
}

/**
 * The fields of one Protocol Buffers message: https://protobuf.dev/programming-guides/encoding/
 * @param {Uint8Array} message
 * @returns {Generator<{field: number, bytes: Uint8Array | undefined}>} bytes of length-delimited fields only
 */
function* fields(message) {
  let at = 0;
  const number = () => {
    let value = 0;
    for (let power = 1; ; power *= 128) {
      if (at >= message.length) throw new RangeError('the message breaks off');
      const byte = message[at];
      at += 1;
      value += (byte % 128) * power;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = number();
    const [field, wire] = [Math.trunc(tag / 8), tag % 8];
    let bytes;
    if (wire === 0) number();
    else if (wire === 1) at += 8;
    else if (wire === 5) at += 4;
    else if (wire === 2) {
      const length = number();
      bytes = message.subarray(at, at + length);
      at += length;
    } else throw new RangeError(`wire type ${wire} is not known`);
    if (at > message.length) throw new RangeError('the message breaks off');
    yield { field, bytes };
  }
}
