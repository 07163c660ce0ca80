/** Step 1, ink: find the ink of a whole page, at a resolution that keeps its numbers legible. */

import { mapped } from '../numeric.js';
import { connected, dilate } from '../preprocess/components.js';
import { reduced } from '../preprocess/grey.js';
import { isSure, networkMarks } from '../preprocess/ink.js';
import { levelPaper, threshold } from '../preprocess/paper.js';
import { PAGE_PIXELS, PAGE_SIDE, REACH, SPECK } from './constants.js';

/** @typedef {import('../preprocess/components.js').Bounds} Bounds */

const SMALL = 48 * 48; // pixels of a page; in a larger one SPECK counts

/**
 * @typedef {object} PageInk
 * @property {import('../numeric.js').Plane} cover 0 paper to 1 full ink
 * @property {Int32Array} labels the number of the component that a pixel is of, from 1, and 0 for paper
 * @property {Bounds[]} boxes of each component
 * @property {number[]} area pixels of each
 * @property {number} step pixels of the picture per pixel of the page
 * @property {import('../preprocess/paper.js').Polarity} polarity
 */

/**
 * Find the ink of a page.
 * @param {import('../preprocess/decode.js').Picture} picture
 * @param {import('../preprocess/ink.js').InkLogits} inkLogits
 * @returns {Promise<PageInk | null>} null for a blank one
 */
export async function findPageInk(picture, inkLogits) {
  const [grey, step] = reduced(picture, PAGE_SIDE, PAGE_PIXELS);
  const paper = levelPaper(grey);
  const [marks, times] = paper?.isClean ? [threshold(grey, paper), 1] : await networkMarks(grey, inkLogits);
  if (!marks) return null;
  const { width, height, data } = marks.depth;
  const solid = { width, height, data: Uint8Array.from(data, (value) => (value > marks.solid ? 1 : 0)) };
  const [roots, found] = connected(solid);
  const good = found.filter(({ area }) => area >= (data.length > SMALL ? SPECK : 1));
  if (!good.length) return null;
  const numbers = new Map(good.map(({ root }, i) => [root, i + 1]));
  const labels = roots.map((root) => (root < 0 ? 0 : (numbers.get(root) ?? 0)));
  const near = dilate(solid, REACH).data;
  grow(labels, width, (i) => near[i] === 1 && data[i] > marks.soft);
  const share = Math.fround(1 / marks.full);
  const cover = mapped(data, (value, i) => (labels[i] ? Math.min(Math.max(Math.fround(value * share), 0), 1) : 0));
  const ink = { width, height, data: cover };
  if (!paper?.isClean && !isSure(ink)) return null;
  return {
    cover: ink,
    labels,
    boxes: good.map(({ box }) => box),
    area: good.map(({ area }) => area),
    step: step / times,
    polarity: marks.polarity,
  };
}

/**
 * Give pixels of soft ink the label of solid ink near them.
 * @param {Int32Array} labels
 * @param {number} width
 * @param {(i: number) => boolean} isSoft
 */
function grow(labels, width, isSoft) {
  const soft = [...labels.keys()].filter((i) => !labels[i] && isSoft(i));
  for (let step = 0; step < REACH; step += 1) {
    const before = labels.slice();
    for (const i of soft) {
      if (before[i]) continue;
      const x = i % width;
      for (let near = x ? i - 1 : i; near <= (x < width - 1 ? i + 1 : i); near += 1) {
        labels[i] = Math.max(labels[i], before[near - width] ?? 0, before[near], before[near + width] ?? 0);
      }
    }
  }
}
