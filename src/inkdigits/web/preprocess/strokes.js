/** Pen strokes instead of a picture, drawn as in preprocess/strokes.py, which gives the reasons. */

import { rint } from '../numeric.js';
import {
  DIGIT_HEIGHT,
  LEAST_HEIGHT,
  LEAST_PEN,
  LONGEST_SIDE,
  MARGIN,
  MAX_COORDINATE,
  MOST_PIXELS,
  OVERSAMPLED,
  PEN,
} from './constants.js';

/** @typedef {readonly (readonly number[])[]} Line the points [x, y] of a stroke, y down */
/** @typedef {[left: number, top: number, right: number, bottom: number]} Span */

/**
 * @typedef {object} Drawing a picture of strokes
 * @property {import('./decode.js').Picture} picture dark on light
 * @property {number} scale pixels of it per unit of the strokes
 * @property {number} left its corner, in units of the strokes
 * @property {number} top
 * @property {Line[]} strokes in pixels of it
 */

/**
 * Draw strokes: each digit about as high, with round caps and joins.
 * @param {readonly Line[]} strokes one or more, of one point or more
 * @returns {Drawing}
 */
export function drawStrokes(strokes) {
  const [x0, y0, x1, y1] = spanOf(strokes);
  const height = heightOf(strokes);
  const full = DIGIT_HEIGHT / height;
  const longest = (LONGEST_SIDE - 2 * MARGIN) / Math.max(full * Math.max(x1 - x0, y1 - y0), 1);
  const area = Math.sqrt(MOST_PIXELS / Math.max(full ** 2 * (x1 - x0) * (y1 - y0), 1));
  const scale = full * Math.min(1, longest, area);
  const [left, top] = [x0 - MARGIN / scale, y0 - MARGIN / scale];
  const [width, rows] = [x1 - x0, y1 - y0].map((side) => Math.ceil(scale * side) + 2 * MARGIN);
  const placed = strokes.map((stroke) => stroke.map(([x, y]) => [scale * (x - left), scale * (y - top)]));
  const cover = painted(placed, width, rows, Math.max(LEAST_PEN, PEN * height * scale));
  const data = Uint8Array.from(cover, (ink) => levelOf(OVERSAMPLED ** 2 - ink));
  return { picture: { width, height: rows, bands: 1, data }, scale, left, top, strokes: placed };
}

/**
 * Return the bounds of the points of strokes.
 * @param {readonly Line[]} strokes
 * @returns {Span}
 */
export function spanOf(strokes) {
  /** @type {Span} */
  const span = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of strokes.flat()) {
    span[0] = Math.min(span[0], x);
    span[1] = Math.min(span[1], y);
    span[2] = Math.max(span[2], x);
    span[3] = Math.max(span[3], y);
  }
  return span;
}

/**
 * Paint strokes on a sheet with a pen of a width, in pixels of it.
 * @param {readonly Line[]} strokes
 * @param {number} width
 * @param {number} height
 * @param {number} pen
 * @returns {Uint8Array} how many of the OVERSAMPLED² parts of each pixel are ink
 */
export function painted(strokes, width, height, pen) {
  const across = OVERSAMPLED * width;
  const sheet = { width: across, height: OVERSAMPLED * height, data: new Uint8Array(across * OVERSAMPLED * height) };
  const wide = OVERSAMPLED * pen;
  for (const stroke of strokes) {
    const points = stroke.map(([x, y]) => [OVERSAMPLED * x, OVERSAMPLED * y]);
    points.forEach(([x, y], i) => {
      if (i) bar(sheet, [...points[i - 1], x, y].map(Math.trunc), rint(wide));
      disc(sheet, [x - wide / 2, y - wide / 2, x + wide / 2, y + wide / 2].map(Math.trunc));
    });
  }
  const found = new Uint8Array(width * height);
  for (let y = 0, i = 0; y < sheet.height; y += 1) {
    const row = Math.trunc(y / OVERSAMPLED) * width;
    for (let x = 0; x < across; x += 1, i += 1) found[row + Math.trunc(x / OVERSAMPLED)] += sheet.data[i];
  }
  return found;
}

/**
 * Return the grey level of a pixel with so many light parts.
 * @param {number} parts of OVERSAMPLED²
 */
export const levelOf = (parts) => Math.trunc((255 * parts) / OVERSAMPLED ** 2 + 0.5);

/** @typedef {import('../numeric.js').Mask} Mask */

/**
 * Fill a row from one pixel up to another.
 * @param {Mask} sheet
 * @param {number} y
 * @param {number} from
 * @param {number} to inclusive
 */
function fill({ width, height, data }, y, from, to) {
  if (y < 0 || y >= height) return;
  data.fill(1, y * width + Math.min(Math.max(from, 0), width), y * width + Math.max(Math.min(to + 1, width), 0));
}

/**
 * Fill the ellipse in a box of whole pixels, whose edges are in it.
 * @param {Mask} sheet
 * @param {number[]} box
 */
function disc(sheet, [left, top, right, bottom]) {
  const reach = reachOf(right - left, bottom - top);
  for (let y = top; y <= bottom; y += 1) {
    const inset = (right - left - reach[Math.abs(2 * y - top - bottom)]) / 2;
    fill(sheet, y, left + inset, right - inset);
  }
}

/** @type {Map<string, number[]>} */
const reaches = new Map();

/**
 * Walk along a quarter of an ellipse to the neighboring pixel that is nearest to it, as Bresenham does.
 * @param {number} wide its axes, or its radii in half pixels
 * @param {number} tall
 * @returns {number[]} how far it reaches sideways, by the distance of a row from its center, in half pixels
 */
function reachOf(wide, tall) {
  const known = reaches.get(`${wide},${tall}`);
  if (known) return known;
  /** @type {number[]} */
  const reach = [];
  const off = (/** @type {number[]} */ [x, y]) => Math.abs((wide * y) ** 2 + (tall * x) ** 2 - (wide * tall) ** 2);
  let [x, y] = [wide, tall % 2];
  for (;;) {
    reach[y] ??= x;
    if (x === wide % 2 && y === tall) break;
    const inwards = [
      [x - 2, y + 2],
      [x - 2, y],
    ];
    [x, y] = (x > 1 ? inwards : []).reduce((best, way) => (off(way) < off(best) ? way : best), [x, y + 2]);
  }
  reaches.set(`${wide},${tall}`, reach);
  return reach;
}

/**
 * Fill a straight line between two pixels.
 * @param {Mask} sheet
 * @param {number[]} ends
 * @param {number} width
 */
function bar(sheet, [x0, y0, x1, y1], width) {
  const length = Math.hypot(x1 - x0, y1 - y0);
  if (!length) return fill(sheet, y0, x0, x0);
  const [less, more] = [Math.ceil(width / 2 - 1), Math.floor(width / 2)].map((radius) => radius / length);
  const [dx, dy] = [x1 - x0, y1 - y0];
  const round = (/** @type {number} */ value) => Math.sign(value) * Math.ceil(Math.abs(value) - 0.5); // halves to 0
  const corners = [
    [x0 - round(less * dy), y0 + round(more * dx)],
    [x1 - round(less * dy), y1 + round(more * dx)],
    [x1 + round(more * dy), y1 - round(less * dx)],
    [x0 + round(more * dy), y0 - round(less * dx)],
  ];
  const ys = corners.map(([, y]) => y);
  for (let y = Math.min(...ys), end = Math.max(...ys); y <= end; y += 1) {
    let [from, to] = [Infinity, -Infinity];
    corners.forEach(([ax, ay], i) => {
      const [bx, by] = corners[(i + 1) % corners.length];
      if (y < Math.min(ay, by) || y > Math.max(ay, by)) return;
      for (const x of ay === by ? [ax, bx] : [ax + ((y - ay) * (bx - ax)) / (by - ay)]) {
        [from, to] = [Math.min(from, x), Math.max(to, x)];
      }
    });
    fill(sheet, y, Math.floor(from + 0.5), Math.ceil(to - 0.5));
  }
}

/**
 * Return the common height of digits: that of the strokes, weighted by their length.
 * @param {readonly Line[]} strokes
 */
function heightOf(strokes) {
  const spans = strokes.map((stroke) => spanOf([stroke]));
  const heights = spans.map(([, top, , bottom]) => bottom - top);
  const lengths = strokes.map((stroke) =>
    stroke.reduce((total, [x, y], i) => (i ? total + Math.hypot(x - stroke[i - 1][0], y - stroke[i - 1][1]) : 0), 0),
  );
  const longest = Math.max(...heights, ...spans.map(([left, , right]) => right - left));
  const height = Math.max(weightedMedian(heights, lengths), LEAST_HEIGHT * longest);
  return height > 1 / MAX_COORDINATE ? height : 1;
}

/**
 * Return the value below which lies half of the weight.
 * @param {number[]} values
 * @param {number[]} weights
 */
export function weightedMedian(values, weights) {
  const order = [...values.keys()].sort((a, b) => values[a] - values[b]);
  const half = weights.reduce((total, weight) => total + weight, 0) / 2;
  let total = 0;
  return values[order.find((i) => (total += weights[i]) >= half) ?? order[order.length - 1]];
}
