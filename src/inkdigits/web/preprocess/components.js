/** Step 3, components: which connected components of the ink are the digit. */

import { mapped } from '../numeric.js';
import {
  CUT,
  CUT_GAP,
  LARGE,
  MOST_COMPONENTS,
  MOST_PARTS,
  PART_GAP,
  PART_SHARE,
  PART_SIDE,
  PIECE_SHARE,
  REACH,
  SMALL,
  SOLID_COVER,
  TALL,
} from './constants.js';

/** @typedef {import('../numeric.js').Mask} Mask */
/** @typedef {import('../numeric.js').Plane} Plane */
/** @typedef {[x0: number, y0: number, x1: number, y1: number]} Bounds x1 and y1 exclusive */

/**
 * @typedef {object} Ink the ink of one digit, or of what may be one
 * @property {Plane} cover the ink within its bounds, 0 paper to 1 full ink
 * @property {Bounds} bounds of the ink in pixels of the picture
 * @property {import('./paper.js').Polarity} polarity
 * @property {boolean} isFramed whether one component lies within the bounds of another
 *
 * @typedef {object} Component a connected component
 * @property {number} root of its pixels in `label`
 * @property {number} area pixels
 * @property {Bounds} box
 */

/**
 * Choose the components of the digit, without specks and pieces of neighbors.
 * @param {import('./paper.js').Marks} marks
 * @returns {Ink[]} the ink, and its parts if they are far apart or tall at the border, the longest first
 */
export function components(marks) {
  const { width, height, data } = marks.depth;
  /** @type {Mask} */
  const mask = { width, height, data: Uint8Array.from(data, (value) => (value > marks.solid ? 1 : 0)) };
  const [label, found] = connected(mask);
  const largest = found.reduce((most, { area }) => Math.max(most, area), 0);
  const least = Math.max(PIECE_SHARE * largest, data.length > SMALL ? 2 : 1);
  let good = found.filter(({ area }) => area >= least);
  if (!good.length) return [];
  if (good.length > MOST_COMPONENTS) {
    const most = new Set([...good].sort((a, b) => b.area - a.area).slice(0, MOST_COMPONENTS));
    good = good.filter((each) => most.has(each));
  }
  const drawn = (/** @type {Component[]} */ some) => {
    const roots = new Set(some.map(({ root }) => root));
    return { width, height, data: mask.data.map((set, i) => (set && roots.has(label[i]) ? 1 : 0)) };
  };
  if (Math.min(width, height) < LARGE || good.length === 1) return [inkOf(marks, drawn(good))];
  const [kept, parts] = chosen(good, width, height);
  const [whole, ...rest] = [kept, ...parts].map((some) => {
    const others = good.filter((each) => !some.includes(each));
    return inkOf(marks, drawn(some), drawn(others));
  });
  return [{ ...whole, isFramed: kept.some(({ box: a }) => kept.some(({ box: b }) => isWithin(a, b))) }, ...rest];
}

/**
 * Return the mean width of the ink's strokes, in pixels: twice its area by its outline.
 * @param {Ink} ink
 */
export function strokeWidth({ cover: { width, height, data } }) {
  const isSet = (/** @type {number} */ x, /** @type {number} */ y) =>
    x >= 0 && y >= 0 && x < width && y < height && data[y * width + x] > SOLID_COVER;
  let [area, inner] = [0, 0];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (!isSet(x, y)) continue;
      area += 1;
      if (isSet(x - 1, y) && isSet(x + 1, y) && isSet(x, y - 1) && isSet(x, y + 1)) inner += 1;
    }
  }
  return (2 * area) / Math.max(area - inner, 1);
}

/**
 * Return the components of the ink, and those of each of its parts if there are several.
 * @param {Component[]} good
 * @param {number} width
 * @param {number} height
 * @returns {[Component[], Component[][]]}
 */
function chosen(good, width, height) {
  const isCut = (/** @type {Component} */ { box: [x0, y0, x1, y1] }) =>
    x0 === 0 || y0 === 0 || x1 === width || y1 === height;
  const weight = (/** @type {Component} */ each) => each.area * (isCut(each) ? CUT : 1);
  const main = good.reduce((best, each) => (weight(each) > weight(best) ? each : best));
  const side = sideOf(main.box);
  const isCutOff = (/** @type {Component} */ each) =>
    isCut(each) && !isCut(main) && gapOf(each.box, main.box) > CUT_GAP * side;
  const kept = good.filter((each) => {
    if (each === main) return true;
    const [gap, share] = [gapOf(each.box, main.box), each.area / main.area];
    return share >= PIECE_SHARE && (share >= PART_SHARE || gap <= PART_GAP * side) && !isCutOff(each);
  });
  const parts = good.filter((each) => isCutOff(each) && sideOf(each.box) >= TALL * side).map((each) => [each]);
  let rest = kept;
  while (rest.length) {
    let part = [rest.reduce((best, each) => (each.area > best.area ? each : best))];
    for (;;) {
      const bounds = around(part);
      const near = rest.filter((each) => part.includes(each) || gapOf(each.box, bounds) <= PART_GAP * sideOf(bounds));
      if (near.length === part.length) break;
      part = near;
    }
    parts.push(part);
    rest = rest.filter((each) => !part.includes(each));
  }
  const sides = parts.map((part) => sideOf(around(part)));
  const order = [...sides.keys()].sort((a, b) => sides[b] - sides[a]);
  const large = order.filter((i) => sides[i] >= PART_SIDE * Math.max(...sides)).map((i) => parts[i]);
  return [kept, large.length > 1 ? large.slice(0, MOST_PARTS) : []];
}

/** @param {Bounds} box */
const sideOf = ([x0, y0, x1, y1]) => Math.max(x1 - x0, y1 - y0);

/**
 * Return the bounds of components.
 * @param {Component[]} part
 * @returns {Bounds}
 */
function around(part) {
  const of = (/** @type {number} */ side) => part.map(({ box }) => box[side]);
  return [Math.min(...of(0)), Math.min(...of(1)), Math.max(...of(2)), Math.max(...of(3))];
}

/**
 * Return the distance of two boxes along the axis where it is larger; 0 if they overlap.
 * @param {Bounds} a
 * @param {Bounds} b
 */
const gapOf = (a, b) => Math.max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3], 0);

/**
 * @param {Bounds} outer
 * @param {Bounds} inner
 */
const isWithin = (outer, inner) =>
  outer[0] < inner[0] && outer[1] < inner[1] && outer[2] > inner[2] && outer[3] > inner[3];

/**
 * Return solid ink and the soft ink around it that is not one of the others.
 * @param {import('./paper.js').Marks} marks
 * @param {Mask} solid
 * @param {Mask | null} [others]
 * @returns {Ink}
 */
function inkOf({ depth, full, soft, grain, polarity }, solid, others = null) {
  const [x0, y0, x1, y1] = boundsOf(solid);
  /** @type {Bounds} */
  const window = [
    Math.max(x0 - REACH - 1, 0),
    Math.max(y0 - REACH - 1, 0),
    Math.min(x1 + REACH + 1, depth.width),
    Math.min(y1 + REACH + 1, depth.height),
  ];
  const near = cropped(depth, window);
  const foreign = others && cropped(others, window).data;
  const keep = dilate(cropped(solid, window), REACH);
  keep.data = keep.data.map((set, i) => (set && near.data[i] > soft && !foreign?.[i] ? 1 : 0));
  const edge = dilate(keep, 1).data;
  const share = Math.fround(1 / full);
  const grainy = grain > 0 ? Math.fround(grain / full) : 0;
  const cover = mapped(near.data, (value, i) => {
    const covered = Math.min(Math.max(Math.fround(value * share), 0), 1);
    return edge[i] && covered >= grainy && !foreign?.[i] ? covered : 0;
  });
  const bounds = boundsOf(keep);
  const [left, top] = window;
  return {
    cover: cropped({ ...near, data: cover }, bounds),
    bounds: [left + bounds[0], top + bounds[1], left + bounds[2], top + bounds[3]],
    polarity,
    isFramed: false,
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
export function dilate({ width, height, data }, reach) {
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
 * Find the 8-connected components of a mask.
 * @param {Mask} mask
 * @returns {[Int32Array, Component[]]} the component's root at each pixel that is set, and the components
 */
export function connected({ width, height, data }) {
  const label = new Int32Array(data.length).fill(-1);
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
  /** @type {Map<number, Component>} */
  const found = new Map();
  for (let y = 0, i = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, i += 1) {
      if (!data[i]) continue;
      const root = (label[i] = rootOf(i));
      const each = found.get(root);
      if (!each) {
        found.set(root, { root, area: 1, box: [x, y, x + 1, y + 1] });
        continue;
      }
      each.area += 1;
      each.box = [Math.min(each.box[0], x), each.box[1], Math.max(each.box[2], x + 1), y + 1];
    }
  }
  return [label, [...found.values()]];
}
