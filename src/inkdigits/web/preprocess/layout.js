/**
 * Step 5, layout: scale the ink to fit 20×20 and center it in 28×28 by its center of mass, as MNIST does. The ink of a
 * line of digits is scaled to one height, and is as wide as it is.
 */

import { rint, sorted, sum } from '../numeric.js';
import {
  BOX_SIDE,
  CENTER,
  FULL_INK,
  ISOLATED,
  LINE_FILL,
  LINE_HEIGHT,
  LINE_MARGIN,
  LINE_PEAK,
  SIDE,
  TIE,
} from './constants.js';

/** @typedef {import('../numeric.js').Plane} Plane */

/**
 * Lay out ink that is cropped to its bounds in 28×28.
 * @param {Plane} ink 0 to 1
 * @returns {Float32Array}
 */
export function layOut({ width, height, data }) {
  let ink = Float32Array.from(data);
  const scale = Math.max(width, height) / BOX_SIDE;
  if (scale !== 1) {
    const rows = Math.max(1, Math.trunc(height / scale + 0.5));
    const columns = Math.max(1, Math.trunc(width / scale + 0.5));
    ink = resampled(ink, width, rows, columns);
    [width, height] = [columns, rows];
    // Scaling down fades a thin line to grey; MNIST's lines are solid.
    const order = sorted(ink);
    const few = order.subarray(order.length >= ISOLATED ? -ISOLATED : -1);
    const peak = Math.fround(sum(0, few.length, (i) => few[i]) / few.length);
    const gain = peak < 1 ? Math.fround(1 / (peak * (FULL_INK + (1 - FULL_INK) * peak))) : 1;
    ink = ink.map((value) => Math.min(value * gain, 1)); // rounding may go beyond by a bit, too
  }
  const mass = sum(0, ink.length, (i) => ink[i]);
  const y = Math.trunc(sum(0, ink.length, (i) => Math.trunc(i / width) * ink[i]) / mass + 0.5 + TIE);
  const x = Math.trunc(sum(0, ink.length, (i) => (i % width) * ink[i]) / mass + 0.5 + TIE);
  const top = Math.min(Math.max(CENTER - y, 0), SIDE - height);
  const left = Math.min(Math.max(CENTER - x, 0), SIDE - width);
  const out = new Float32Array(SIDE * SIDE);
  for (let row = 0; row < height; row += 1) {
    out.set(ink.subarray(row * width, (row + 1) * width), (top + row) * SIDE + left);
  }
  return out;
}

/**
 * Lay out the ink of a line, cropped to its bounds, LINE_HEIGHT pixels high. It starts LINE_MARGIN pixels from the left,
 * and is centered from top to bottom.
 * @param {Plane} ink 0 to 1
 * @returns {[Plane, number]} the line, of even width, and pixels of it per pixel of the ink
 */
export function layOutLine({ width, height, data }) {
  const rows = Math.max(1, rint(LINE_FILL * LINE_HEIGHT));
  const scale = rows / height;
  const columns = Math.max(1, rint(width * scale));
  let ink = resampled(Float32Array.from(data), width, rows, columns);
  const inked = sorted(ink.filter((value) => value > 0));
  if (inked.length) {
    const rank = Math.max(1, Math.trunc(LINE_PEAK * inked.length)); // scaling down fades thin strokes
    const peak = Math.max(inked[inked.length - rank], 1e-3);
    ink = ink.map((value) => Math.min(value / peak, 1));
  }
  const padded = columns + 2 * LINE_MARGIN;
  const line = { width: padded + (padded % 2), height: LINE_HEIGHT };
  const out = new Float32Array(line.width * line.height);
  const top = Math.trunc((LINE_HEIGHT - rows) / 2);
  for (let row = 0; row < rows; row += 1) {
    out.set(ink.subarray(row * columns, (row + 1) * columns), (top + row) * line.width + LINE_MARGIN);
  }
  return [{ ...line, data: out }, scale];
}

/**
 * Resample a picture to other numbers of rows and columns.
 * @param {Float32Array} values
 * @param {number} width
 * @param {number} rows
 * @param {number} columns
 */
export function resampled(values, width, rows, columns) {
  const tall = product(resampling(values.length / width, rows), values, width);
  return turned(product(resampling(width, columns), turned(tall, width), rows), rows);
}

/**
 * Transpose a matrix.
 * @param {Float32Array} values
 * @param {number} width
 */
function turned(values, width) {
  const height = values.length / width;
  return values.map((_, i) => values[(i % height) * width + Math.trunc(i / height)]);
}

/**
 * Return the weights that resample a line, those that are not 0 by row: area average to scale down, linear to scale up.
 * @param {number} size
 * @param {number} to
 */
function resampling(size, to) {
  const scale = size / to;
  return Array.from({ length: to }, (_, i) => {
    const center = Math.min(Math.max((i + 0.5) * scale - 0.5, 0), size - 1);
    const [low, high] = [i * scale, (i + 1) * scale];
    const first = scale >= 1 ? Math.trunc(low) : Math.floor(center);
    const end = Math.min(size, scale >= 1 ? Math.ceil(high) : first + 2);
    const shares = Array.from({ length: end - first }, (_, k) => {
      const pixel = first + k;
      if (scale >= 1) return Math.max(Math.min(pixel + 1, high) - Math.max(pixel, low), 0);
      return Math.max(1 - Math.abs(pixel - center), 0);
    });
    const total = sum(0, shares.length, (k) => shares[k]);
    return { first, shares: shares.map((share) => Math.fround(share / total)) };
  });
}

/**
 * Multiply weights by values, (rows, height) × (height, width) → (rows, width).
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
