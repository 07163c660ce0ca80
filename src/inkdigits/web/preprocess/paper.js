/** Step 2 on level paper: find the ink by thresholds, without a network. */

import { mapped, precision, sorted, sum } from '../numeric.js';
import {
  BORDER,
  FULL_SHARE,
  GRAINY,
  GRAIN_CUT,
  GRAIN_ROWS,
  GRAIN_SIDE,
  INK_QUANTILE,
  ISOLATED,
  LARGE,
  MAD,
  MIN_CONTRAST,
  SOFT,
  SOFT_MOST,
  SOLID,
  SOLID_MOST,
  TINY,
} from './constants.js';

/** @typedef {import('../numeric.js').Plane} Plane */
/** @typedef {'dark-on-light' | 'light-on-dark'} Polarity */

/**
 * @typedef {object} Marks the pixels that may be ink
 * @property {Plane} depth how much each pixel differs from the paper; 0 or less is paper
 * @property {number} full the depth of full ink
 * @property {number} solid the depth above which a pixel is ink
 * @property {number} soft the depth above which a pixel next to solid ink is ink
 * @property {number} grain the depth below which ink is grain of the paper
 * @property {Polarity} polarity
 */

/**
 * @typedef {object} Paper paper of one level
 * @property {number} level in grey levels
 * @property {number} grain standard deviation of its grain
 * @property {boolean} isClean whether all of the border is of this level; else, something touches it
 */

/**
 * Find the level of the paper from the border.
 * @param {Plane} grey single precision, 0 to 255
 * @returns {Paper | null} null if it has no one level, or grain
 */
export function levelPaper(grey) {
  const ring = sorted(border(grey));
  const level = ring[ring.length >> 1];
  if (Math.max(grey.width, grey.height) < TINY) return { level, grain: 0, isClean: true };
  const [isDarker, isLighter] = [level - ring[0] > MIN_CONTRAST, ring[ring.length - 1] - level > MIN_CONTRAST];
  if (isDarker && isLighter) return null;
  const grain = grainOf(grey);
  const isClean = Math.min(grey.width, grey.height) < LARGE || !(isDarker || isLighter);
  return grain <= GRAINY ? { level, grain, isClean } : null;
}

/**
 * Return the pixels of the border, flat.
 * @param {Plane} plane
 */
function border({ width, height, data }) {
  const b = Math.max(1, Math.trunc(BORDER * Math.min(width, height) + 0.5));
  const inner = Math.max(width - 2 * b, 0) * Math.max(height - 2 * b, 0);
  const out = data.slice(0, width * height - inner);
  let k = 0;
  for (let y = 0; y < height; y += 1) {
    const row = data.subarray(y * width, (y + 1) * width);
    const parts = y < b || y >= height - b || width <= 2 * b ? [row] : [row.subarray(0, b), row.subarray(width - b)];
    for (const part of parts) {
      out.set(part, k);
      k += part.length;
    }
  }
  return out;
}

/**
 * Estimate the grain's standard deviation from second differences, which uneven light hardly changes.
 * @param {Plane} grey
 */
function grainOf({ width, height, data }) {
  if (Math.min(width, height) < GRAIN_SIDE) return 0;
  const round = precision(data);
  const stride = Math.max(1, Math.trunc(height / GRAIN_ROWS));
  const rows = Math.ceil(height / stride);
  const differences = new Float32Array(rows * (width - 2));
  for (let row = 0, k = 0; row < rows; row += 1) {
    for (let i = row * stride * width + 1, end = i + width - 2; i < end; i += 1, k += 1) {
      differences[k] = Math.abs(round(data[i + 1] - 2 * data[i]) + data[i - 1]);
    }
  }
  differences.sort();
  return (MAD * differences[differences.length >> 1]) / 6 ** 0.5;
}

/**
 * Separate ink from paper, on the heavier side of its level.
 * @param {Plane} grey single precision, 0 to 255
 * @param {Paper} paper
 * @returns {Marks | null} null for a blank sheet
 */
export function threshold({ width, height, data }, { level, grain }) {
  const above = mapped(data, (value) => value - level);
  let marks = above.filter((value) => Math.abs(value) >= MIN_CONTRAST);
  const isLight = sum(0, marks.length, (i) => marks[i]) > 0;
  const depth = isLight ? above : mapped(above, (value) => -value);
  marks = sorted(isLight ? marks : mapped(marks, (value) => -value));
  const rank = Math.max(ISOLATED, Math.trunc(Math.min(INK_QUANTILE * marks.length, FULL_SHARE * data.length)));
  if (marks.length < rank) return null;
  const full = marks[marks.length - rank];
  if (full < MIN_CONTRAST) return null; // the strongest marks are on the other side of the paper's level
  const depthOf = (/** @type {number} */ share, /** @type {number} */ most) =>
    Math.fround(Math.max(share * full, Math.min(MIN_CONTRAST, most * full)));
  return {
    depth: { width, height, data: depth },
    full,
    solid: depthOf(SOLID, SOLID_MOST),
    soft: depthOf(SOFT, SOFT_MOST),
    grain: GRAIN_CUT * grain,
    polarity: isLight ? 'light-on-dark' : 'dark-on-light',
  };
}
