/**
 * Step 2, ink: find the ink in a picture. On clean paper thresholds find it; on any other, a small convolutional network.
 */

import { mapped, rint } from '../numeric.js';
import { components, dilate, strokeWidth } from './components.js';
import { ENLARGED_SIDE, FILLED, INK, LEAST_SIDE, PAPER, RING, SOFT_INK, SOLID_INK, STRIDE, SURE, WIDER } from './constants.js';
import { resampled } from './layout.js';
import { levelPaper, threshold } from './paper.js';
import { planes } from './planes.js';

/** @typedef {import('./components.js').Ink} Ink */
/** @typedef {import('../numeric.js').Mask} Mask */
/** @typedef {import('../numeric.js').Plane} Plane */
/** @typedef {(planes: Float32Array, height: number, width: number) => Promise<Float32Array>} InkLogits the network */

/**
 * @typedef {object} Found the ink of a picture
 * @property {Ink[]} inks the ink, and its parts; empty for a blank picture
 * @property {number} times how many pixels of the ink a pixel of the picture became
 * @property {Ink[]} [otherwise] what thresholds found, and its parts, in pixels of the picture, where they may differ
 */

/**
 * Find the ink of a picture.
 * @param {Plane} grey single precision, 0 to 255
 * @param {InkLogits} inkLogits
 * @returns {Promise<Found>}
 */
export async function findInk(grey, inkLogits) {
  const paper = levelPaper(grey);
  const marks = paper && threshold(grey, paper);
  const plain = marks ? components(marks) : [];
  if (paper?.isClean && !plain[0]?.isFramed) return { inks: plain, times: 1 };
  const [found, times] = await networkMarks(grey, inkLogits);
  let inks = components(found);
  if (inks.length && !isSure(inks[0].cover)) inks = [];
  if (!inks.length && plain.length && fills(plain[0].bounds, grey)) return { inks: plain.slice(0, 1), times: 1 };
  const isThing =
    !inks.length || !plain.length || strokeWidth(plain[0]) > (WIDER * strokeWidth(inks[0])) / times;
  return { inks, times, ...(isThing ? {} : { otherwise: plain }) };
}

/**
 * Let the network find the ink of a picture; return it, and how many times the picture was enlarged for it.
 * @param {Plane} grey
 * @param {InkLogits} inkLogits
 * @returns {Promise<[import('./paper.js').Marks, number]>}
 */
export async function networkMarks(grey, inkLogits) {
  const side = Math.max(grey.width, grey.height);
  const times = side < LEAST_SIDE ? Math.max(1, rint(ENLARGED_SIDE / side)) : 1;
  const large = times > 1 ? enlarged(grey, times) : grey;
  return [marksOf(large, await inkProbability(large, inkLogits)), times];
}

/**
 * Whether ink fills a picture, as a 1 does that is cut at its ink.
 * @param {import('./components.js').Bounds} bounds
 * @param {Plane} picture
 */
const fills = ([x0, y0, x1, y1], { width, height }) => x1 - x0 >= FILLED * width && y1 - y0 >= FILLED * height;

/**
 * Whether the network is sure that cover is ink, as it is not of what it finds in noise or in a texture.
 * @param {Plane} cover
 */
export function isSure({ data }) {
  let [sum, count] = [0, 0];
  for (const value of data) if (value) [sum, count] = [sum + value, count + 1];
  return sum >= SURE * count;
}

/**
 * Run the network: grey to the probability of each pixel to be ink.
 * @param {Plane} grey
 * @param {InkLogits} inkLogits
 * @returns {Promise<Float32Array>}
 */
async function inkProbability(grey, inkLogits) {
  const { width, height } = grey;
  const [rows, columns] = [height, width].map((side) => Math.ceil(side / STRIDE) * STRIDE);
  const [top, left] = [(rows - height) >> 1, (columns - width) >> 1];
  const input = new Float32Array(2 * rows * columns);
  const clamp = (/** @type {number} */ i, /** @type {number} */ side) => Math.min(Math.max(i, 0), side - 1);
  planes(grey).forEach((plane, n) => {
    for (let y = 0, i = n * rows * columns; y < rows; y += 1) {
      const row = clamp(y - top, height) * width;
      for (let x = 0; x < columns; x += 1, i += 1) input[i] = plane[row + clamp(x - left, width)];
    }
  });
  const logits = await inkLogits(input, rows, columns);
  return new Float32Array(width * height).map((_, i) => {
    const logit = logits[(Math.trunc(i / width) + top) * columns + (i % width) + left];
    return 0.5 + 0.5 * Math.tanh(0.5 * logit);
  });
}

/**
 * @param {Plane} grey
 * @param {Float32Array} probability
 * @returns {import('./paper.js').Marks}
 */
function marksOf({ width, height, data }, probability) {
  const scale = 1 / (INK - PAPER);
  const depth = mapped(probability, (value) => Math.fround(value - Math.fround(PAPER)) * Math.fround(scale));
  /** @type {Mask} */
  const ink = { width, height, data: Uint8Array.from(probability, (value) => (value > SOLID_INK ? 1 : 0)) };
  const [inner, outer] = RING.map((reach) => dilate(ink, reach).data);
  let [inside, count, around, ring] = [0, 0, 0, 0];
  data.forEach((value, i) => {
    if (ink.data[i]) [inside, count] = [inside + value, count + 1];
    else if (outer[i] && !inner[i] && depth[i] < 0) [around, ring] = [around + value, ring + 1];
  });
  return {
    depth: { width, height, data: depth },
    full: 1,
    solid: Math.fround((SOLID_INK - PAPER) * scale),
    soft: Math.fround((SOFT_INK - PAPER) * scale),
    grain: 0,
    polarity: count && ring && inside / count > around / ring ? 'light-on-dark' : 'dark-on-light',
  };
}

/**
 * Enlarge a picture by a whole factor, linearly.
 * @param {Plane} grey
 * @param {number} times
 * @returns {Plane}
 */
function enlarged({ width, height, data }, times) {
  const size = { width: times * width, height: times * height };
  return { ...size, data: resampled(Float32Array.from(data), width, size.height, size.width) };
}
