/**
 * Image → 28×28, as the network gets it. The same steps as inkdigits/image.py, which says why each is taken; a test holds
 * the two together.
 */

import { findInk } from './ink.js';
import { rint, sorted, sum } from './numeric.js';

/** @typedef {import('./numeric.js').Plane} Plane */
/** @typedef {import('./pieces.js').Bounds} Bounds */

export const NORMALISATION_VERSION = '2'; // of inkdigits/image.py: models are trained for one
export const SIDE = 28; // pixels, of what the network sees
export const BOX_SIDE = 20; // pixels, that the ink is scaled to fit

const CENTRE = 14; // pixel index that the centre of mass is rounded to, in MNIST's own files too
const WORK_SIDE = 160; // pixels, the longer side a picture is looked at with
const WORK_SHORT = 32; // pixels that the shorter side keeps, where it has them: a strip is not reduced to a line
const FINER = 5; // times finer is a picture looked at in which nothing was found
// Most pixels that a picture is looked at with, and finer: a strip is reduced further when it is longer than 25 times
// its height. So the longest one costs no more than a square.
const WORK_PIXELS = 4 * WORK_SIDE ** 2;
const FINER_PIXELS = (FINER * WORK_SIDE) ** 2;
const CLOSE_SIDE = 56; // pixels; ink found smaller than this in a reduced picture is looked at again, closer
const CLOSE_MARGIN = 0.4; // of the ink's longer side, kept around it when looking closer
const FULL_INK = 0.6; // of the darkest pixels after scaling down, taken as full ink: thin pens come out solid
const ISOLATED = 4; // pixels: the peak is never judged by fewer
const TIE = 1e-5; // pixels: a symmetric digit's centre lies between two, and goes to the same one whatever sums round to
const WEIGHT_BITS = 22; // of the whole numbers that Pillow's resampling weighs pixels with
const SQRT3 = 3 ** -0.5;

/**
 * @typedef {object} Picture opaque and upright
 * @property {number} width
 * @property {number} height
 * @property {1 | 3} bands grey, or red, green and blue
 * @property {Uint8Array} data pixel by pixel, row by row
 *
 * @typedef {object} Normalised
 * @property {Float32Array} image 28 × 28 of 0 to 1, ink 1 on paper 0
 * @property {{left: number, top: number, right: number, bottom: number} | null} box where the ink was found, in pixels of
 *   the picture; null when blank
 * @property {'dark-on-light' | 'light-on-dark' | null} polarity null when blank
 */

/**
 * Find the digit in a picture and lay it out as the networks expect it.
 * @param {Picture} picture
 * @returns {Normalised}
 */
export function normalise(picture) {
  let [left, top, right, bottom] = [0, 0, picture.width, picture.height];
  for (;;) {
    let [grey, step] = reduce(picture, [left, top, right, bottom], 1);
    let found = findInk(grey);
    if (!found && step > 1) {
      // A speck at this size may be a digit in a huge picture.
      [grey, step] = reduce(picture, [left, top, right, bottom], FINER);
      found = findInk(grey);
    }
    if (!found) return { image: new Float32Array(SIDE * SIDE), box: null, polarity: null };
    const [x0, y0, x1, y1] = found.bounds;
    const long = Math.max(x1 - x0, y1 - y0);
    if (step <= 1 || long >= CLOSE_SIDE) {
      // A pixel may reach beyond a strip that was reduced to few of them.
      const [end, foot] = [Math.min(left + x1 * step, right), Math.min(top + y1 * step, bottom)];
      const box = { left: left + x0 * step, top: top + y0 * step, right: end, bottom: foot };
      return { image: layOut(found.cover), box, polarity: found.polarity };
    }
    const margin = Math.max(CLOSE_MARGIN * long, 4);
    [left, top, right, bottom] = [
      Math.floor(Math.max(left, left + (x0 - margin) * step)),
      Math.floor(Math.max(top, top + (y0 - margin) * step)),
      Math.ceil(Math.min(right, left + (x1 + margin) * step)),
      Math.ceil(Math.min(bottom, top + (y1 + margin) * step)),
    ];
  }
}

/**
 * A region in grey, area-averaged to WORK_SIDE times `finer` or so; and how many source pixels a pixel of it is.
 * @param {Picture} picture
 * @param {Bounds} region whole pixels
 * @param {number} finer
 * @returns {[Plane, number]}
 */
function reduce(picture, region, finer) {
  const [width, height] = [region[2] - region[0], region[3] - region[1]];
  const wanted = Math.min(Math.max(width, height) / WORK_SIDE, Math.min(width, height) / WORK_SHORT) / finer;
  const most = finer === 1 ? WORK_PIXELS : FINER_PIXELS;
  // A strip that is thinner than WORK_SHORT is no longer either.
  const least = Math.max(((width * height) / most) ** 0.5, (Math.max(width, height) * WORK_SHORT) / most);
  const step = Math.max(1, wanted, least);
  const [across, down] = [Math.max(1, rint(width / step)), Math.max(1, rint(height / step))];
  return [toGrey(resized(picture, across, down, region)), step];
}

/**
 * Colour → grey along the first principal axis of the colours, so that red on green of one lightness shows.
 * @param {Picture} picture
 * @returns {Plane}
 */
function toGrey({ width, height, bands, data }) {
  const n = width * height;
  const grey = new Float32Array(n);
  if (bands === 1 || data.every((value, i) => value === data[i - (i % 3)])) {
    for (let i = 0; i < n; i += 1) grey[i] = data[i * bands];
    return { width, height, data: grey };
  }
  const mean = [0, 1, 2].map((band) => Math.fround(sum(0, n, (i) => data[3 * i + band]) / n));
  const covariance = [0, 1, 2].map((a) =>
    [0, 1, 2].map((b) => sum(0, n, (i) => (data[3 * i + a] - mean[a]) * (data[3 * i + b] - mean[b])) / n),
  );
  let axis = [SQRT3, SQRT3, SQRT3];
  for (let step = 0; step < 32; step += 1) {
    const image = covariance.map((row) => row[0] * axis[0] + row[1] * axis[1] + row[2] * axis[2]);
    const length = Math.hypot(...image);
    if (length < 1e-9) break;
    axis = image.map((value) => value / length);
  }
  const sign = axis[0] + axis[1] + axis[2] < 0 ? -SQRT3 : SQRT3;
  const [r, g, b] = axis.map((value) => Math.fround(value * sign));
  for (let i = 0; i < n; i += 1) grey[i] = data[3 * i] * r + data[3 * i + 1] * g + data[3 * i + 2] * b;
  return { width, height, data: grey };
}

/**
 * A region scaled by area, as Pillow's `resize` with its box filter does it to the last bit: across, then down, with
 * whole numbers. https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c
 * @param {Picture} picture
 * @param {number} across
 * @param {number} down
 * @param {Bounds} region
 * @returns {Picture}
 */
function resized(picture, across, down, [x0, y0, x1, y1]) {
  const { width, height, bands, data } = picture;
  if (across === width && down === height && x0 === 0 && y0 === 0) return picture;
  const columns = weights(width, across, x0, x1);
  const rows = weights(height, down, y0, y1);
  const rounding = 2 ** (WEIGHT_BITS - 1);
  const between = new Uint8Array((y1 - y0) * across * bands);
  for (let y = y0, k = 0; y < y1; y += 1) {
    for (const { from, shares } of columns) {
      for (let band = 0; band < bands; band += 1, k += 1) {
        let total = rounding;
        let i = (y * width + from) * bands + band;
        for (let each = 0; each < shares.length; each += 1, i += bands) total += data[i] * shares[each];
        between[k] = Math.min(total >> WEIGHT_BITS, 255);
      }
    }
  }
  const stride = across * bands;
  const out = new Uint8Array(down * stride);
  rows.forEach(({ from, shares }, y) => {
    for (let x = 0; x < stride; x += 1) {
      let total = rounding;
      let i = (from - y0) * stride + x;
      for (let each = 0; each < shares.length; each += 1, i += stride) total += between[i] * shares[each];
      out[y * stride + x] = Math.min(total >> WEIGHT_BITS, 255);
    }
  });
  return { width: across, height: down, bands, data: out };
}

/**
 * Which pixels of a line make each pixel of a shorter one, and with what weight.
 * @param {number} size of the whole line
 * @param {number} to pixels
 * @param {number} first of the region
 * @param {number} end of the region
 */
function weights(size, to, first, end) {
  const scale = (end - first) / to;
  const support = 0.5 * scale;
  return Array.from({ length: to }, (_, i) => {
    const centre = first + (i + 0.5) * scale;
    const low = Math.max(0, Math.trunc(centre - support + 0.5));
    const high = Math.min(size, Math.trunc(centre + support + 0.5));
    const inside = Array.from({ length: high - low }, (_, k) => {
      const place = (k + low - centre + 0.5) / scale;
      return place > -0.5 && place <= 0.5 ? 1 : 0;
    });
    const count = sum(0, inside.length, (k) => inside[k]);
    return { from: low, shares: inside.map((share) => Math.trunc(0.5 + (share / count) * 2 ** WEIGHT_BITS)) };
  });
}

/**
 * Ink cropped to its bounds → 28×28: into a 20×20 box, area-averaged, by its centre of mass.
 * @param {Plane} ink 0 to 1
 * @returns {Float32Array}
 */
function layOut({ width, height, data }) {
  let ink = Float32Array.from(data);
  const scale = Math.max(width, height) / BOX_SIDE;
  if (scale !== 1) {
    const rows = Math.max(1, Math.trunc(height / scale + 0.5));
    const columns = Math.max(1, Math.trunc(width / scale + 0.5));
    ink = product(resampling(height, rows), ink, width);
    ink = product(resampling(width, columns), turned(ink, width), rows);
    ink = turned(ink, rows);
    [width, height] = [columns, rows];
    // Scaled down, a thin pen's line fades to grey; MNIST's lines are solid.
    const order = sorted(ink);
    const few = order.subarray(order.length >= ISOLATED ? -ISOLATED : -1);
    const peak = Math.fround(sum(0, few.length, (i) => few[i]) / few.length);
    const gain = peak < 1 ? Math.fround(1 / (peak * (FULL_INK + (1 - FULL_INK) * peak))) : 1;
    ink = ink.map((value) => Math.min(value * gain, 1)); // rounding may go beyond by a bit, too
  }
  const mass = sum(0, ink.length, (i) => ink[i]);
  const y = Math.trunc(sum(0, ink.length, (i) => Math.trunc(i / width) * ink[i]) / mass + 0.5 + TIE);
  const x = Math.trunc(sum(0, ink.length, (i) => (i % width) * ink[i]) / mass + 0.5 + TIE);
  const top = Math.min(Math.max(CENTRE - y, 0), SIDE - height);
  const left = Math.min(Math.max(CENTRE - x, 0), SIDE - width);
  const out = new Float32Array(SIDE * SIDE);
  for (let row = 0; row < height; row += 1) {
    out.set(ink.subarray(row * width, (row + 1) * width), (top + row) * SIDE + left);
  }
  return out;
}

/**
 * Rows as columns.
 * @param {Float32Array} values
 * @param {number} width
 */
function turned(values, width) {
  const height = values.length / width;
  return values.map((_, i) => values[(i % height) * width + Math.trunc(i / height)]);
}

/**
 * Weights that resample a line: area average when scaling down, linear when scaling up. Row by row, where not 0.
 * @param {number} size
 * @param {number} to
 */
function resampling(size, to) {
  const scale = size / to;
  return Array.from({ length: to }, (_, i) => {
    const centre = Math.min(Math.max((i + 0.5) * scale - 0.5, 0), size - 1);
    const [low, high] = [i * scale, (i + 1) * scale];
    const first = scale >= 1 ? Math.trunc(low) : Math.floor(centre);
    const end = Math.min(size, scale >= 1 ? Math.ceil(high) : first + 2);
    const shares = Array.from({ length: end - first }, (_, k) => {
      const pixel = first + k;
      if (scale >= 1) return Math.max(Math.min(pixel + 1, high) - Math.max(pixel, low), 0);
      return Math.max(1 - Math.abs(pixel - centre), 0);
    });
    const total = sum(0, shares.length, (k) => shares[k]);
    return { first, shares: shares.map((share) => Math.fround(share / total)) };
  });
}

/**
 * Weights × values, (rows, height) × (height, width) → (rows, width).
 * @param {ReturnType<typeof resampling>} lines
 * @param {Float32Array} values
 * @param {number} width
 */
function product(lines, values, width) {
  const out = new Float32Array(lines.length * width);
  lines.forEach(({ first, shares }, row) => {
    for (let x = 0; x < width; x += 1) {
      out[row * width + x] = sum(0, shares.length, (k) => shares[k] * values[(first + k) * width + x]);
    }
  });
  return out;
}
