/**
 * The device: reads pictures here, with the server's own model file in ONNX Runtime's WebAssembly build. The same steps as
 * inkdigits/recognizer.py, and the same answers.
 */

import { metadataOf } from './onnx.js';
import { NORMALIZATION_VERSION, SIDE } from './preprocess/constants.js';
import { preprocess } from './preprocess/index.js';
import { Missing, modelOf } from './reader.js';
import { text } from './text.js';

/** @typedef {import('./reader.js').Answer} Answer */
/** @typedef {import('./reader.js').Model} Model */
/** @typedef {typeof import('onnxruntime-web/wasm')} Runtime */

const RUNTIME = 'vendor/ort.wasm.bundle.min.js';
const WASM = 'vendor/ort-wasm-simd-threaded.wasm';
const MODEL = 'model.onnx';
const CARD = 'model.json';
const CLASSES = 10;
const [OCCLUSION, OCCLUSION_STEP] = [5, 2]; // pixels: side of the window that an explanation wipes out, and its stride
const FULL_SCALE = 255;
const LEAST = 1e-9; // probability; its logarithm is taken

/** @typedef {{logits: (images: Float32Array, count: number) => Promise<Float32Array>, temperature: number,
 *   threshold: number, card: Model}} Network */

/** Reads on this device. Everything that it needs is fetched when it is first asked. */
export class DeviceReader {
  /** @type {Promise<Network> | null} */
  #network = null;
  #isLoaded = false;

  /** @param {URL} [folder] that holds the model and `vendor/`; beside the page by default */
  constructor(folder = new URL('.', import.meta.url)) {
    this.folder = folder;
  }

  get isLoaded() {
    return this.#isLoaded;
  }

  /**
   * Fetch what reading needs.
   * @throws {Missing}
   */
  async load() {
    this.#network ??= load(this.folder);
    try {
      await this.#network;
      this.#isLoaded = true;
    } catch (error) {
      this.#network = null; // so that it can be tried again
      throw error;
    }
    return this.#network;
  }

  /**
   * Read the digit in one picture.
   * @param {Blob} picture an image file
   * @param {import('./reader.js').Options} [options]
   * @returns {Promise<Answer>}
   * @throws {import('./reader.js').Refused | Missing}
   */
  async read(picture, { seen = false, why = false } = {}) {
    const network = await this.load();
    const { image, box, polarity } = await preprocess(picture);
    const model = network.card.name;
    const rows = (/** @type {(value: number) => number} */ shown, /** @type {Float32Array} */ values) =>
      Array.from({ length: SIDE }, (_, y) => Array.from(values.subarray(y * SIDE, (y + 1) * SIDE), shown));
    const more = seen ? { image: rows((value) => Math.round(value * FULL_SCALE), image) } : {};
    if (!box) {
      const probabilities = Array(CLASSES).fill(1 / CLASSES);
      const none = { digit: null, confidence: 0, is_digit: false, digit_score: null };
      return { ...none, probabilities, blank: true, box, polarity, model, ...more };
    }
    const logits = await network.logits(image, 1);
    const probabilities = softmax(logits.subarray(0, CLASSES), network.temperature);
    const confidence = Math.max(...probabilities);
    const digit = probabilities.indexOf(confidence);
    const score = logits.length > CLASSES ? 1 / (1 + Math.exp(-logits[CLASSES])) : null;
    return {
      digit,
      confidence,
      probabilities,
      is_digit: score === null || score >= network.threshold,
      digit_score: score,
      blank: false,
      box,
      polarity,
      model,
      ...more,
      ...(why ? { explanation: rows((value) => value, await explain(network, image, digit)) } : {}),
    };
  }

  /**
   * Which model answers.
   * @returns {Promise<Model | null>}
   */
  async model() {
    return this.#isLoaded ? ((await this.#network)?.card ?? null) : null;
  }
}

/**
 * @param {URL} folder
 * @returns {Promise<Network>}
 */
async function load(folder) {
  const about = modelOf(await (await fetched(folder, CARD)).json(), folder);
  if (about.not_on_device) throw new Missing(about.not_on_device);
  const [runtime, file] = await Promise.all([loadRuntime(folder), fetched(folder, MODEL)]);
  const bytes = new Uint8Array(await file.arrayBuffer());
  await verify(bytes, about.sha256);
  const metadata = metadataOf(bytes);
  const version = metadata.get('inkdigits.normalisation') ?? NORMALIZATION_VERSION;
  if (version !== NORMALIZATION_VERSION) throw new Missing(text.otherNormalisation(version, NORMALIZATION_VERSION));
  const session = await runtime.InferenceSession.create(bytes, { executionProviders: ['wasm'] });
  const [input, output] = [session.inputNames[0], session.outputNames[0]];
  /** @type {Promise<unknown>} a session runs one batch at a time */
  let last = Promise.resolve();
  const run = async (/** @type {Float32Array} */ images, /** @type {number} */ count) => {
    const batch = new runtime.Tensor('float32', images, [count, 1, SIDE, SIDE]);
    const results = await session.run({ [input]: batch });
    return /** @type {Float32Array} */ (results[output].data);
  };
  return {
    logits: (images, count) => {
      const result = last.then(() => run(images, count));
      last = result.catch(() => {});
      return result;
    },
    temperature: Number(metadata.get('inkdigits.temperature') ?? 1),
    threshold: Number(metadata.get('inkdigits.threshold') ?? 0.5),
    card: about,
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
  } catch (error) {
    throw new Missing(text.notFetched(RUNTIME, error instanceof Error ? error.message : String(error)));
  }
  // One thread: more need a page that is isolated from other origins, and for so small a network gain nothing.
  runtime.env.wasm.numThreads = 1;
  runtime.env.wasm.wasmPaths = { wasm: new URL(WASM, folder).href };
  return runtime;
}

/**
 * @param {URL} folder
 * @param {string} name
 */
async function fetched(folder, name) {
  let reason;
  try {
    const response = await fetch(new URL(name, folder));
    if (response.ok) return response;
    reason = `${response.status} ${response.statusText}`.trim();
  } catch (error) {
    reason = error instanceof Error ? error.message : String(error);
  }
  throw new Missing(text.notFetched(name, reason));
}

/**
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {string} sha256 of the file as registered
 */
async function verify(bytes, sha256) {
  if (!globalThis.crypto?.subtle) return; // a page that came over plain HTTP has no hashes
  const found = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const hex = Array.from(found, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (hex !== sha256) throw new Missing(text.otherModel(hex.slice(0, 12), sha256.slice(0, 12)));
}

/**
 * @param {Float32Array} logits
 * @param {number} temperature
 * @returns {number[]}
 */
function softmax(logits, temperature) {
  const scale = Math.fround(1 / temperature);
  const scaled = logits.map((logit) => logit * scale);
  const most = Math.max(...scaled);
  const exponents = Array.from(scaled, (logit) => Math.exp(logit - most));
  const total = exponents.reduce((sum, each) => sum + each);
  return exponents.map((each) => each / total);
}

/**
 * Occlusion: how far the digit's log-probability falls when a window of ink is wiped out, in one batch.
 *
 * M. Zeiler and R. Fergus, Visualizing and Understanding Convolutional Networks, 2014, https://arxiv.org/abs/1311.2901
 * @param {Network} network
 * @param {Float32Array} image
 * @param {number} digit
 * @returns {Promise<Float32Array>} 28 × 28 of -1 to 1
 */
async function explain({ logits, temperature }, image, digit) {
  const reach = Math.trunc(OCCLUSION / 2);
  const windows = [];
  for (let y = 0; y < SIDE; y += OCCLUSION_STEP) {
    for (let x = 0; x < SIDE; x += OCCLUSION_STEP) {
      const window = pixelsAround(x, y, reach);
      if (window.some((i) => image[i])) windows.push(window); // wiping paper changes nothing
    }
  }
  const count = windows.length + 1;
  const batch = new Float32Array(count * image.length);
  for (let i = 0; i < count; i += 1) batch.set(image, i * image.length);
  windows.forEach((window, i) => window.forEach((pixel) => (batch[(i + 1) * image.length + pixel] = 0)));
  const all = await logits(batch, count);
  const classes = all.length / count;
  const certainty = Array.from({ length: count }, (_, i) => {
    const row = all.subarray(i * classes, i * classes + CLASSES);
    return Math.log(Math.max(softmax(row, temperature)[digit], LEAST));
  });
  const [total, times] = [new Float32Array(image.length), new Float32Array(image.length)];
  windows.forEach((window, i) => {
    for (const pixel of window) {
      total[pixel] += certainty[0] - certainty[i + 1];
      times[pixel] += 1;
    }
  });
  const importance = total.map((value, i) => (image[i] > 0 ? value / Math.max(times[i], 1) : 0));
  const most = importance.reduce((largest, value) => Math.max(largest, Math.abs(value)), LEAST);
  return importance.map((value) => value / most);
}

/**
 * @param {number} x
 * @param {number} y
 * @param {number} reach
 */
function pixelsAround(x, y, reach) {
  const pixels = [];
  for (let row = Math.max(y - reach, 0); row <= Math.min(y + reach, SIDE - 1); row += 1) {
    for (let column = Math.max(x - reach, 0); column <= Math.min(x + reach, SIDE - 1); column += 1) {
      pixels.push(row * SIDE + column);
    }
  }
  return pixels;
}
