/** Step 3, segment: find the pixels that are ink, on the heavier side of the paper's level. */

import { mapped, sorted, sum } from '../numeric.js';
import {
  FULL_SHARE,
  INK_QUANTILE,
  ISOLATED,
  RULE_LEVEL,
  SOFT,
  SOFT_MOST,
  SOLID,
  SOLID_MOST,
} from './constants.js';

/** @typedef {import('../numeric.js').Mask} Mask */
/** @typedef {import('../numeric.js').Plane} Plane */
/** @typedef {'dark-on-light' | 'light-on-dark'} Polarity */

/**
 * @typedef {object} Marks the pixels that differ from the paper
 * @property {Plane} depth grey levels towards the ink's side of the paper
 * @property {number} full the depth of full ink
 * @property {Mask} solid the pixels that are certainly ink
 * @property {Mask} faint the pixels that may be part of a ruled line
 * @property {number} soft the depth from which a pixel next to solid ink is ink
 * @property {number} grain standard deviation of the paper's grain
 * @property {Polarity} polarity
 */

/**
 * Separate ink from paper.
 * @param {import('./background.js').Relief} relief
 * @returns {Marks | null} null for a blank sheet
 */
export function segment({ above, grain, floor }) {
  const { width, height, data: signed } = above;
  const least = Math.fround(floor);
  let marks = signed.filter((value) => Math.abs(value) >= least);
  const light = sum(0, marks.length, (i) => marks[i]) > 0;
  const data = light ? signed : mapped(signed, (value) => -value);
  marks = sorted(light ? marks : mapped(marks, (value) => -value));
  const rank = Math.max(ISOLATED, Math.trunc(Math.min(INK_QUANTILE * marks.length, FULL_SHARE * signed.length)));
  if (marks.length < rank) return null;
  const full = marks[marks.length - rank];
  if (full < floor) return null; // what is there lies on the other side of the paper's level
  // Faint marks count only next to dark ones: pale rules, stains and print from the other side do not.
  const depthOf = (/** @type {number} */ share, /** @type {number} */ most) =>
    Math.fround(Math.max(share * full, Math.min(floor, most * full)));
  const deeper = (/** @type {number} */ than) => ({ width, height, data: Uint8Array.from(data, (v) => (v > than ? 1 : 0)) });
  return {
    depth: { width, height, data },
    full,
    solid: deeper(depthOf(SOLID, SOLID_MOST)),
    faint: deeper(Math.fround(RULE_LEVEL * full)),
    soft: depthOf(SOFT, SOFT_MOST),
    grain,
    polarity: light ? 'light-on-dark' : 'dark-on-light',
  };
}
