/**
 * The model and the networks that find ink and read lines: fetched, verified by their hashes, run by ONNX Runtime's
 * WebAssembly build. As inkdigits/network.py, the only module that knows the runtime.
 */

import { NORMALIZATION_VERSION, SIDE } from '../preprocess/constants.js';
import { DeviceUnavailable, toModelInfo } from '../result.js';
import { text } from '../strings.js';

/** @typedef {typeof import('onnxruntime-web/wasm')} Runtime */

const RUNTIME = 'vendor/ort.wasm.bundle.min.js';
const WASM = 'vendor/ort-wasm-simd-threaded.wasm';
const MODEL = 'model.onnx';
const INK = 'ink.onnx';
const LINE = 'line.onnx';
const INFO = 'model.json';
const FEATURES = 'features'; // name of the model's second output

// https://github.com/onnx/onnx/blob/main/onnx/onnx.proto: field numbers of the messages
const METADATA_PROPS = 14; // of ModelProto
const KEY = 1; // of StringStringEntryProto
const VALUE = 2;

/**
 * @typedef {object} Network
 * @property {(images: Float32Array, count: number) => Promise<Float32Array>} run images to logits, row by row
 * @property {(images: Float32Array, count: number) => Promise<{logits: Float32Array, features: Float32Array}>} runBoth
 * @property {boolean} hasFeatures whether the model can adapt to a hand
 * @property {import('../hand/adaptation.js').Adaptation | null} hand whose digits the answers follow
 * @property {import('../preprocess/ink.js').InkLogits} inkLogits
 * @property {import('../reading/lines.js').LineLogits} lineLogits fetched at its first run: digits do not need it
 * @property {number} temperature by which logits are divided
 * @property {number} threshold digit score under which ink is rejected
 * @property {number} unclear digit score from which rejected ink is more likely a digit than not
 * @property {import('../types.js').ModelInfo} info
 */

/**
 * Fetch the model and the runtime.
 * @param {URL} folder that holds them
 * @returns {Promise<Network>}
 * @throws {DeviceUnavailable}
 */
export async function loadNetwork(folder) {
  const info = toModelInfo(await (await fetched(folder, INFO)).json(), folder);
  if (info.not_on_device) throw new DeviceUnavailable(text.serverOnly);
  const [runtime, bytes, inkBytes] = await Promise.all([
    loadRuntime(folder),
    verified(folder, MODEL, info.sha256),
    verified(folder, INK, info.ink_sha256),
  ]);
  const metadata = metadataOf(bytes);
  const version = metadata.get('inkdigits.normalisation') ?? NORMALIZATION_VERSION;
  if (version !== NORMALIZATION_VERSION) throw new DeviceUnavailable(text.otherNormalisation);
  const [model, ink] = await Promise.all([sessionOf(runtime, bytes), sessionOf(runtime, inkBytes)]);
  const line = once(async () => sessionOf(runtime, await verified(folder, LINE, info.line_sha256)));
  const [logits] = model.outputs;
  const first = async (/** @type {Promise<Float32Array[]>} */ results) => (await results)[0];
  return {
    run: (images, count) => first(model.run(images, [count, 1, SIDE, SIDE], [logits])),
    async runBoth(images, count) {
      const found = await model.run(images, [count, 1, SIDE, SIDE], [logits, FEATURES]);
      return { logits: found[0], features: found[1] };
    },
    hasFeatures: model.outputs.includes(FEATURES),
    hand: null,
    inkLogits: (planes, height, width) =>
      first(ink.run(planes, [1, planes.length / (height * width), height, width], ink.outputs)),
    lineLogits: async (lines, count, height, width) => {
      const { run, outputs } = await line();
      return first(run(lines, [count, 1, height, width], outputs));
    },
    temperature: Number(metadata.get('inkdigits.temperature') ?? 1),
    threshold: Number(metadata.get('inkdigits.threshold') ?? 0.5),
    unclear: Number(metadata.get('inkdigits.unclear') ?? 1),
    info,
  };
}

/**
 * Call a function at the first call only, and again after it failed.
 * @template T
 * @param {() => Promise<T>} load
 * @returns {() => Promise<T>}
 */
export function once(load) {
  /** @type {Promise<T> | null} */
  let loaded = null;
  return () => {
    loaded ??= load().catch((error) => {
      loaded = null;
      throw error;
    });
    return loaded;
  };
}

/**
 * @typedef {object} Session a model with one input
 * @property {readonly string[]} outputs their names
 * @property {(values: Float32Array, shape: number[], wanted: readonly string[]) => Promise<Float32Array[]>} run
 */

/**
 * Load a model.
 * @param {Runtime} runtime
 * @param {Uint8Array} bytes of its file
 * @returns {Promise<Session>}
 */
async function sessionOf(runtime, bytes) {
  const session = await runtime.InferenceSession.create(bytes, { executionProviders: ['wasm'] });
  const [input] = session.inputNames;
  /** @type {Session['run']} */
  const runNow = async (values, shape, wanted) => {
    const results = await session.run({ [input]: new runtime.Tensor('float32', values, shape) }, wanted);
    return wanted.map((name) => /** @type {Float32Array} */ (results[name].data));
  };
  /** @type {Promise<unknown>} a session runs one batch at a time */
  let last = Promise.resolve();
  return {
    outputs: session.outputNames,
    run: (...call) => {
      const result = last.then(() => runNow(...call));
      last = result.catch(() => {});
      return result;
    },
  };
}

/**
 * @param {URL} folder
 * @returns {Promise<Runtime>}
 */
async function loadRuntime(folder) {
  /** @type {Runtime} */
  let runtime;
  try {
    runtime = await import(new URL(RUNTIME, folder).href);
  } catch {
    throw new DeviceUnavailable(text.notFetched(RUNTIME));
  }
  // One thread: more need a page that is isolated from other origins, and gain nothing for so small a network.
  runtime.env.wasm.numThreads = 1;
  runtime.env.wasm.wasmPaths = { wasm: new URL(WASM, folder).href };
  return runtime;
}

/**
 * @param {URL} folder
 * @param {string} name
 */
async function fetched(folder, name) {
  const response = await fetch(new URL(name, folder)).catch(() => null);
  if (!response?.ok) throw new DeviceUnavailable(text.notFetched(name));
  return response;
}

/**
 * @param {URL} folder
 * @param {string} name
 * @param {string} sha256 of the file as registered
 */
async function verified(folder, name, sha256) {
  const bytes = new Uint8Array(await (await fetched(folder, name)).arrayBuffer());
  if (!globalThis.crypto?.subtle) return bytes; // browsers offer no hashes to a page that came over plain HTTP
  const found = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const hex = Array.from(found, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (hex !== sha256) throw new DeviceUnavailable(text.otherModel);
  return bytes;
}

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
      if (at >= message.length) throw new RangeError('the message is cut off');
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
    } else throw new RangeError(`wire type ${wire} is unknown`);
    if (at > message.length) throw new RangeError('the message is cut off');
    yield { field, bytes };
  }
}
