/** Step 4, components: keep the connected components of the digit, without ruled lines and specks. */

import { mapped, rint } from '../numeric.js';
import { border } from './background.js';
import {
  GRAIN_CUT,
  MAIN_SHARE,
  MOST_LEFT_ON_EDGE,
  PIECE_SHARE,
  REACH,
  RULE_SHARE,
  RULE_SIDE,
  RULE_SLOPES,
  RULE_WIDTH,
  SMALL,
} from './constants.js';

/** @typedef {import('../numeric.js').Mask} Mask */
/** @typedef {import('../numeric.js').Plane} Plane */
/** @typedef {[x0: number, y0: number, x1: number, y1: number]} Bounds x1 and y1 exclusive */

/**
 * @typedef {object} Ink a digit's ink
 * @property {Plane} cover the ink within its bounds, 0 paper to 1 full ink
 * @property {Bounds} bounds of the ink in pixels of the picture
 * @property {import('./segment.js').Polarity} polarity
 */

/**
 * Keep the sure ink without rules and specks, and the soft ink around it.
 * @param {import('./segment.js').Marks} marks
 * @returns {Ink | null} null if none is left
 */
export function components({ depth, full, solid, faint, soft, grain, polarity }) {
  const sure = connectedComponents(withoutRules(solid, faint));
  if (!sure) return null;
  const [x0, y0, x1, y1] = boundsOf(sure);
  /** @type {Bounds} */
  const around = [
    Math.max(x0 - REACH - 1, 0),
    Math.max(y0 - REACH - 1, 0),
    Math.min(x1 + REACH + 1, depth.width),
    Math.min(y1 + REACH + 1, depth.height),
  ];
  const near = cropped(depth, around);
  const keep = dilate(cropped(sure, around), REACH);
  keep.data = keep.data.map((set, i) => (set && near.data[i] > soft ? 1 : 0));
  const edge = dilate(keep, 1).data;
  const share = Math.fround(1 / full);
  const grainy = grain > 0 ? Math.fround((GRAIN_CUT * grain) / full) : 0;
  const cover = mapped(near.data, (value, i) => {
    const covered = Math.min(Math.max(Math.fround(value * share), 0), 1);
    return edge[i] && covered >= grainy ? covered : 0;
  });
  const bounds = boundsOf(keep);
  const [left, top] = around;
  return {
    cover: cropped({ ...near, data: cover }, bounds),
    bounds: [left + bounds[0], top + bounds[1], left + bounds[2], top + bounds[3]],
    polarity,
  };
}

/**
 * Return x0, y0, x1, y1 of the pixels that are set.
 * @param {Mask} mask with something set
 * @returns {Bounds}
 */
function boundsOf({ width, height, data }) {
  let [x0, y0, x1, y1] = [width, height, 0, 0];
  for (let y = 0, i = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, i += 1) {
      if (!data[i]) continue;
      x0 = Math.min(x0, x);
      x1 = Math.max(x1, x + 1);
      y0 = Math.min(y0, y);
      y1 = y + 1;
    }
  }
  return [x0, y0, x1, y1];
}

/**
 * @template {import('../numeric.js').Floats | Uint8Array} T
 * @param {{width: number, height: number, data: T}} plane
 * @param {Bounds} bounds
 * @returns {{width: number, height: number, data: T}}
 */
function cropped({ width, data }, [x0, y0, x1, y1]) {
  const out = /** @type {T} */ (data.slice(0, (x1 - x0) * (y1 - y0)));
  for (let y = y0; y < y1; y += 1) out.set(data.subarray(y * width + x0, y * width + x1), (y - y0) * (x1 - x0));
  return { width: x1 - x0, height: y1 - y0, data: out };
}

/**
 * Dilate a mask by `reach` pixels along rows and columns.
 * @param {Mask} mask
 * @param {number} reach
 * @returns {Mask}
 */
function dilate({ width, height, data }, reach) {
  for (let step = 0; step < reach; step += 1) {
    const wide = data.slice();
    for (let i = width; i < data.length; i += 1) {
      wide[i] |= data[i - width];
      wide[i - width] |= data[i];
    }
    data = wide.slice();
    for (let i = 1; i < data.length; i += 1) {
      if (i % width === 0) continue;
      data[i] |= wide[i - 1];
      data[i - 1] |= wide[i];
    }
  }
  return { width, height, data };
}

/**
 * Keep the 8-connected components of at least a share of the largest; return null if nothing is left.
 * @param {Mask} mask
 * @param {number} [share]
 * @returns {Mask | null}
 */
function connectedComponents({ width, height, data }, share = PIECE_SHARE) {
  const label = new Int32Array(data.length).fill(-1);
  const area = new Int32Array(data.length); // of the piece that a pixel is the root of
  const rootOf = (/** @type {number} */ i) => {
    while (label[i] !== i) i = label[i] = label[label[i]];
    return i;
  };
  for (let y = 0, i = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, i += 1) {
      if (!data[i]) continue;
      label[i] = i;
      const left = x > 0 ? [i - 1, i - width - 1] : [];
      for (const near of [...left, i - width, ...(x < width - 1 ? [i - width + 1] : [])]) {
        if (near >= 0 && data[near]) label[rootOf(near)] = rootOf(i);
      }
    }
  }
  let largest = 0;
  for (let i = 0; i < data.length; i += 1) {
    if (data[i]) largest = Math.max(largest, (area[rootOf(i)] += 1));
  }
  const least = Math.max(share * largest, data.length > SMALL ? 2 : 1);
  if (largest < least) return null;
  return { width, height, data: data.map((set, i) => (set && area[rootOf(i)] >= least ? 1 : 0)) };
}

/**
 * Remove ruled lines and table borders, thin lines from border to border, if a digit remains.
 *
 * The rest must hardly touch the border, and its main component not at all: in a tight crop of a digit, its own bars go
 * from border to border.
 * @param {Mask} mask the ink
 * @param {Mask} faint the ink, and marks too faint for a digit next to it, as lines often are
 * @returns {Mask}
 */
function withoutRules(mask, faint) {
  if (Math.min(mask.width, mask.height) < RULE_SIDE || !border(faint).includes(1)) return mask;
  const across = withoutRulesAcross(mask, faint);
  const rest = connectedComponents(turned(withoutRulesAcross(turned(across), turned(faint))));
  if (!rest || onEdge(rest) > MOST_LEFT_ON_EDGE * onEdge(mask)) return mask;
  const main = connectedComponents(rest, MAIN_SHARE);
  return main && onEdge(main) ? mask : rest;
}

/**
 * Count the outermost pixels that are set; a corner counts twice.
 * @param {Mask} mask
 */
function onEdge({ width, height, data }) {
  let set = 0;
  for (let x = 0; x < width; x += 1) set += data[x] + data[(height - 1) * width + x];
  for (let y = 0; y < height; y += 1) set += data[y * width] + data[y * width + width - 1];
  return set;
}

/**
 * Transpose a mask.
 * @param {Mask} mask
 * @returns {Mask}
 */
function turned({ width, height, data }) {
  const out = data.map((_, i) => data[(i % height) * width + Math.trunc(i / height)]);
  return { width: height, height: width, data: out };
}

/**
 * Remove the lines that go from left to right, sloping by a few degrees at most.
 * @param {Mask} mask
 * @param {Mask} faint
 * @returns {Mask}
 */
function withoutRulesAcross({ width, height, data }, faint) {
  const rest = data.slice();
  const near = faint.data.slice(); // a line wavers by a pixel
  for (let i = width; i < near.length; i += 1) {
    near[i] |= faint.data[i - width];
    near[i - width] |= faint.data[i];
  }
  for (const slope of RULE_SLOPES) {
    const shift = Array.from({ length: width }, (_, x) => rint(slope * (x - width / 2)));
    const share = Array.from({ length: height }, (_, y) => shareOf(near, y, shift, height));
    const lines = runs(share.map((each) => each > RULE_SHARE));
    if (!lines.length) continue;
    // Lines of this slope are rows now.
    const level = data.map((_, i) => {
      const y = Math.trunc(i / width) + shift[i % width];
      return y >= 0 && y < height ? rest[y * width + (i % width)] : 0;
    });
    for (const [top, bottom] of lines) {
      if (bottom - top > Math.max(2, RULE_WIDTH * height) + 2) continue;
      const above = Math.max(top - 2, 0) * width;
      const below = Math.min(bottom + 1, height - 1) * width;
      for (let x = 0; x < width; x += 1) {
        // Keep strokes that cross the line: they continue above and below it.
        if (level[above + x] && level[below + x]) continue;
        for (let y = Math.max(top - 1, 0); y < Math.min(bottom + 1, height); y += 1) {
          if (level[y * width + x]) rest[(y + shift[x]) * width + x] = level[y * width + x] = 0;
        }
      }
    }
  }
  return { width, height, data: rest };
}

/**
 * Return the share of a sloping line that is set, of its part in the picture, or of half the width if that is more.
 * @param {Uint8Array} near
 * @param {number} y
 * @param {number[]} shift
 * @param {number} height
 */
function shareOf(near, y, shift, height) {
  const width = shift.length;
  let [set, inside] = [0, 0];
  for (let x = 0; x < width; x += 1) {
    const row = y + shift[x];
    if (row < 0 || row >= height) continue;
    inside += 1;
    set += near[row * width + x];
  }
  return set / Math.max(inside, width >> 1);
}

/**
 * Return the first index and the last, exclusive, of each run of set pixels.
 * @param {boolean[]} line
 * @returns {[number, number][]}
 */
function runs(line) {
  /** @type {[number, number][]} */
  const found = [];
  for (let i = 0; i < line.length; i += 1) {
    if (!line[i]) continue;
    if (i > 0 && line[i - 1]) found[found.length - 1][1] = i + 1;
    else found.push([i, i + 1]);
  }
  return found;
}
