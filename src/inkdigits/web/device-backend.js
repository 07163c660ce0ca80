/**
 * This device as backend: the server's own model file, run here. The same steps as in inkdigits/recognizer.py, and the
 * same predictions.
 */

import { SIDE } from './preprocess/constants.js';
import { decode } from './preprocess/decode.js';
import { preprocessPicture } from './preprocess/index.js';
import { DeviceUnavailable } from './result.js';
import { loadNetwork, once } from './runtime/network.js';
import { text } from './strings.js';

/** @typedef {import('./types.js').Prediction} Prediction */
/** @typedef {import('./types.js').Reading} Reading */
/** @typedef {import('./preprocess/index.js').Preprocessed} Preprocessed */
/** @typedef {import('./runtime/network.js').Network} Network */

const CLASSES = 10;
const [OCCLUSION, OCCLUSION_STEP] = [5, 2]; // pixels: side of the window that an explanation erases, and its stride
const FULL_SCALE = 255;
const SEVERAL = CLASSES + 1; // index of the logit of "these are several digits"
/** @type {import('./types.js').Reason} */
const BLANK = 'blank';
/** @type {import('./types.js').Reason} */
const SEVERAL_DIGITS = 'several digits';
const LEAST = 1e-9; // probability; its logarithm is taken

/** Reads pictures on this device. The model and the runtime are fetched at the first one. */
export class DeviceBackend {
  /** @type {Network | null} */
  #network = null;
  #load;

  /** @param {URL} [folder] that holds the model and `vendor/`; that of the page by default */
  constructor(folder = new URL('.', import.meta.url)) {
    this.#load = once(() => loadNetwork(folder));
  }

  get isLoaded() {
    return this.#network !== null;
  }

  /**
   * Fetch the model and the runtime.
   * @throws {import('./result.js').DeviceUnavailable}
   */
  async load() {
    this.#network = await this.#load();
    return this.#network;
  }

  /**
   * Read the digit in one picture.
   * @param {Blob} picture an image file
   * @param {import('./types.js').Options} [options]
   * @returns {Promise<Prediction>}
   * @throws {import('./result.js').Rejected | import('./result.js').DeviceUnavailable}
   */
  async predict(picture, options = {}) {
    const network = await this.load();
    const whole = await preprocessPicture(await decode(picture), network.inkLogits);
    const model = network.info.name;
    if (!whole.box) {
      const probabilities = Array(CLASSES).fill(1 / CLASSES);
      const none = { digit: null, confidence: 0, is_digit: false, digit_score: null, reason: BLANK };
      const input = options.image ? { image: levelsOf(whole.image) } : {};
      return { ...none, probabilities, blank: true, box: null, polarity: null, model, ...input };
    }
    const { image, ...prediction } = await readInks(network, whole);
    return {
      ...prediction,
      blank: false,
      model,
      ...(options.image ? { image: levelsOf(image) } : {}),
      ...(options.explain ? { explanation: rowsOf(await explain(network, image, prediction.digit)) } : {}),
    };
  }

  /**
   * Read the numbers in one picture, or in a drawing.
   * @param {import('./types.js').Page} page
   * @param {number} alternatives other texts to return for each number
   * @returns {Promise<Reading>}
   * @throws {import('./result.js').Rejected | import('./result.js').DeviceUnavailable}
   */
  async read(page, alternatives) {
    const network = await this.load();
    const { readDrawing, readPicture } = await import('./reading/index.js').catch(() => {
      throw new DeviceUnavailable(text.notFetched('reading/index.js'));
    });
    const networks = {
      ...network,
      readDigits: (/** @type {Float32Array[]} */ images) => readEach(network, images),
      readSingle: async (/** @type {import('./preprocess/decode.js').Picture} */ picture) => {
        const whole = await preprocessPicture(picture, network.inkLogits);
        return whole.box && readInks(network, whole);
      },
    };
    const reading =
      page instanceof Blob
        ? await readPicture(await decode(page), networks, alternatives)
        : await readDrawing(page.strokes, networks, alternatives);
    return { ...reading, model: network.info.name };
  }

  /** @returns {Promise<import('./types.js').ModelInfo | null>} null until the model is loaded */
  async model() {
    return this.#network?.info ?? null;
  }
}

/**
 * Read all that may be the digit of a picture, and choose as inkdigits/recognizer.py does.
 * @param {Network} network
 * @param {Preprocessed} whole with ink
 */
async function readInks(network, whole) {
  const { parts = [], otherwise } = whole;
  const inks = [whole, ...parts, ...(otherwise ? [otherwise, ...(otherwise.parts ?? [])] : [])];
  const answers = await readEach(
    network,
    inks.map(({ image }) => image),
  );
  const [first, ...rest] = inks.map(({ box, polarity }, i) => {
    return { ...answers[i], box: /** @type {NonNullable<typeof box>} */ (box), polarity: polarity ?? '' };
  });
  if (first.digit_score === null) return first;
  const [pieces, [other, ...others]] = [rest.slice(0, parts.length), rest.slice(parts.length)];
  const digits = pieces.filter((part) => part.is_digit);
  const hasSeveral = !first.is_digit && pieces.some((part) => part.reason === SEVERAL_DIGITS);
  if (digits.length > 1 || hasSeveral) return { ...first, is_digit: false, reason: SEVERAL_DIGITS };
  const found = digits.length && !first.is_digit && first.reason !== SEVERAL_DIGITS ? digits[0] : first;
  if (!other) return found;
  const isAnother = other.is_digit && !found.is_digit && found.reason !== SEVERAL_DIGITS;
  // A thing at the border may make several digits of one, but does not look like one.
  const areDigits = others.filter((piece) => piece.is_digit).length > 1;
  const isMore = found.is_digit && other.reason === SEVERAL_DIGITS && areDigits;
  return isAnother || isMore ? other : found;
}

/**
 * Read each of some images as a digit, in one network run.
 * @param {Network} network
 * @param {Float32Array[]} images 28 × 28 of 0 to 1
 */
async function readEach(network, images) {
  if (!images.length) return [];
  const batch = new Float32Array(images.length * images[0].length);
  images.forEach((image, i) => batch.set(image, i * image.length));
  const { hand } = network;
  const { logits, features } = hand?.isOn
    ? await network.runBoth(batch, images.length)
    : { logits: await network.run(batch, images.length), features: null };
  const row = (/** @type {Float32Array} */ values, /** @type {number} */ i) => {
    const width = values.length / images.length;
    return values.subarray(i * width, (i + 1) * width);
  };
  return images.map((image, i) => {
    const boosts = hand && features ? hand.boosts(row(features, i)) : null;
    return answerOf(network, image, row(logits, i), boosts);
  });
}

/**
 * @param {Network} network
 * @param {Float32Array} image
 * @param {Float32Array} logits
 * @param {number[] | null} boosts of the ten digits, by the hand
 */
function answerOf(network, image, logits, boosts) {
  const probabilities = softmax(logits.subarray(0, CLASSES), network.temperature, boosts);
  const confidence = Math.max(...probabilities);
  const score = logits.length > CLASSES ? 1 / (1 + Math.exp(-logits[CLASSES])) : null;
  const isDigit = score === null || score >= network.threshold;
  return {
    image,
    digit: probabilities.indexOf(confidence),
    confidence,
    probabilities,
    is_digit: isDigit,
    digit_score: score,
    ...(boosts ? { adapted: true } : {}),
    reason: isDigit ? null : reasonOf(logits, score, network.unclear),
  };
}

/**
 * Why ink is rejected.
 * @param {Float32Array} logits
 * @param {number} score
 * @param {number} unclear score from which a digit is more likely than not
 * @returns {import('./types.js').Reason}
 */
function reasonOf(logits, score, unclear) {
  if (logits.length > SEVERAL && logits[SEVERAL] > 0) return SEVERAL_DIGITS;
  return score >= unclear ? 'unclear' : 'not a digit';
}

/** @param {Float32Array} image */
const levelsOf = (image) => rowsOf(image.map((value) => Math.round(value * FULL_SCALE)));

/** @param {Float32Array} image */
const rowsOf = (image) => Array.from({ length: SIDE }, (_, y) => [...image.subarray(y * SIDE, (y + 1) * SIDE)]);

/**
 * @param {Float32Array} logits
 * @param {number} temperature
 * @param {number[] | null} [boosts] added after the temperature
 * @returns {number[]}
 */
function softmax(logits, temperature, boosts) {
  const scale = Math.fround(1 / temperature);
  const plain = logits.map((logit) => logit * scale);
  const scaled = boosts ? boosts.map((boost, i) => plain[i] + boost) : plain;
  const most = Math.max(...scaled);
  const exponents = Array.from(scaled, (logit) => Math.exp(logit - most));
  const total = exponents.reduce((sum, each) => sum + each);
  return exponents.map((each) => each / total);
}

/**
 * Occlusion: how far the digit's log-probability falls when a window of ink is erased, in one batch.
 *
 * M. Zeiler and R. Fergus, Visualizing and Understanding Convolutional Networks, 2014, https://arxiv.org/abs/1311.2901
 * @param {Network} network
 * @param {Float32Array} image
 * @param {number} digit
 * @returns {Promise<Float32Array>} 28 × 28 of -1 to 1
 */
async function explain({ run, temperature }, image, digit) {
  const reach = Math.trunc(OCCLUSION / 2);
  const windows = [];
  for (let y = 0; y < SIDE; y += OCCLUSION_STEP) {
    for (let x = 0; x < SIDE; x += OCCLUSION_STEP) {
      const window = pixelsAround(x, y, reach);
      if (window.some((i) => image[i])) windows.push(window); // erasing paper changes nothing
    }
  }
  const count = windows.length + 1;
  const batch = new Float32Array(count * image.length);
  for (let i = 0; i < count; i += 1) batch.set(image, i * image.length);
  windows.forEach((window, i) => window.forEach((pixel) => (batch[(i + 1) * image.length + pixel] = 0)));
  const logits = await run(batch, count);
  const classes = logits.length / count;
  const certainty = Array.from({ length: count }, (_, i) => {
    const row = logits.subarray(i * classes, i * classes + CLASSES);
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
