/**
 * Ink and paper: which pixels of a grey picture are the digit. The same steps as inkdigits/ink.py, which says why.
 */

import { mapped, precision, sorted, sum } from './numeric.js';
import { MAD, abovePaper } from './paper.js';
import { boundsOf, cropped, grown, withoutRules, withoutSpecks } from './pieces.js';

/** @typedef {import('./numeric.js').Plane} Plane */
/** @typedef {import('./pieces.js').Bounds} Bounds */

const MIN_CONTRAST = 15; // grey levels; less is a blank sheet
const GRAINY = 2.5; // grey levels, standard deviation of the paper's grain from which the picture is smoothed first
const GRAIN_SIDE = 24; // pixels of the shorter side; in smaller pictures the digit's own edges would be taken for grain
const GRAIN_ROWS = 32; // rows that the grain is judged by
const SMOOTH = 64; // pixels of the longer side for each pixel that the smoothing reaches
const NOISE_FACTOR = 4.5; // ink differs from the paper by more than this many standard deviations of its grain
const GRAIN_CUT = 2; // standard deviations of the paper's grain; fainter ink is paper
const INK_QUANTILE = 0.1; // of the inked pixels are darker than what counts as full ink, so that no hot pixel sets it
// Of the picture's pixels, at most, are darker than that: stains and rules outnumber thin strokes.
const FULL_SHARE = 0.004;
const SOLID = 0.45; // of full ink, from which a pixel is surely ink
const SOFT = 0.2; // of full ink, from which a pixel beside sure ink is ink
const SOLID_MOST = 0.7; // of full ink: no grain asks for more of sure ink
const SOFT_MOST = 0.5; // nor for more beside it
const REACH = 3; // pixels that soft ink may lie from sure ink
const RULE_LEVEL = 0.25; // of full ink, from which a pixel may be of a ruled line
const ISOLATED = 4; // pixels: full ink is never judged by fewer

/**
 * @typedef {object} Ink
 * @property {Plane} cover the ink within its bounds, 0 paper to 1 full ink
 * @property {Bounds} bounds of the ink in pixels of the picture
 * @property {'dark-on-light' | 'light-on-dark'} polarity
 */

/**
 * Separate ink from paper.
 * @param {Plane} picture single precision, 0 to 255
 * @returns {Ink | null} null for a blank sheet
 */
export function findInk(picture) {
  const [grey, grain] = smooth(picture);
  const { width, height } = grey;
  const floor = Math.max(MIN_CONTRAST, NOISE_FACTOR * grain);
  const signed = abovePaper(grey, grain, floor).data;
  const least = Math.fround(floor);
  let marks = signed.filter((value) => Math.abs(value) >= least);
  const light = sum(0, marks.length, (i) => marks[i]) > 0;
  const depth = light ? signed : mapped(signed, (value) => -value);
  marks = sorted(light ? marks : mapped(marks, (value) => -value));
  const rank = Math.max(ISOLATED, Math.trunc(Math.min(INK_QUANTILE * marks.length, FULL_SHARE * signed.length)));
  if (marks.length < rank) return null;
  const full = marks[marks.length - rank];
  if (full < floor) return null; // what is there lies on the other side of the paper's level
  // Faint marks count beside dark ones only: a line ruled in pale blue, a stain or the other side's print do not.
  const sure = Math.fround(Math.max(SOLID * full, Math.min(floor, SOLID_MOST * full)));
  const ruled = Math.fround(RULE_LEVEL * full);
  const inked = { width, height, data: maskOf(depth, (value) => value > sure) };
  const faint = { width, height, data: maskOf(depth, (value) => value > ruled) };
  const solid = withoutSpecks(withoutRules(inked, faint));
  if (!solid) return null;
  const [x0, y0, x1, y1] = boundsOf(solid);
  /** @type {Bounds} */
  const around = [
    Math.max(x0 - REACH - 1, 0),
    Math.max(y0 - REACH - 1, 0),
    Math.min(x1 + REACH + 1, width),
    Math.min(y1 + REACH + 1, height),
  ];
  const near = cropped({ width, height, data: depth }, around);
  const possible = Math.fround(Math.max(SOFT * full, Math.min(floor, SOFT_MOST * full)));
  const keep = grown(cropped(solid, around), REACH);
  keep.data = keep.data.map((set, i) => (set && near.data[i] > possible ? 1 : 0));
  const edge = grown(keep, 1).data;
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
    polarity: light ? 'light-on-dark' : 'dark-on-light',
  };
}

/**
 * @param {import('./numeric.js').Floats} values
 * @param {(value: number) => boolean} test
 */
function maskOf(values, test) {
  const mask = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i += 1) mask[i] = test(values[i]) ? 1 : 0;
  return mask;
}

/**
 * The picture without its grain, and the standard deviation of the grain that is left.
 * @param {Plane} grey
 * @returns {[Plane, number]}
 */
function smooth(grey) {
  const grain = grainOf(grey);
  const { width, height } = grey;
  const reach = Math.trunc(Math.max(width, height) / SMOOTH);
  if (grain <= GRAINY || !reach) return [grey, grain];
  let data = grey.data;
  let area = 1;
  for (const [length, count, step, next] of [
    [height, width, width, 1],
    [width, height, 1, width],
  ]) {
    const near = Math.min(reach, (length - 1) >> 1); // across a strip, no farther than it is wide
    const side = 2 * near + 1;
    area *= side;
    const source = data;
    data = new Float32Array(source.length);
    const total = new Float64Array(length + side);
    for (let each = 0; each < count; each += 1) {
      for (let i = 0; i < length + side - 1; i += 1) {
        const from = Math.min(Math.max(i - near, 0), length - 1);
        total[i + 1] = total[i] + source[each * next + step * from];
      }
      for (let i = 0; i < length; i += 1) data[each * next + step * i] = (total[i + side] - total[i]) / side;
    }
  }
  const smoothed = { width, height, data };
  // Of independent grain a mean of k pixels leaves 1/√k; real grain hangs together somewhat.
  return [smoothed, Math.max(grainOf(smoothed), grain / area ** 0.5)];
}

/**
 * Standard deviation of the grain, from neighbours' differences, which even slopes of light hardly touch.
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
