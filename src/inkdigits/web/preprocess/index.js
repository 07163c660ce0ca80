/**
 * Turn any picture into 28×28 pixels in MNIST's layout, ink 1 on paper 0. The steps are those of inkdigits/preprocess,
 * whose modules have the same names and give the reasons. A test compares both.
 */

import { background } from './background.js';
import { components } from './components.js';
import { SIDE } from './constants.js';
import { decode } from './decode.js';
import { closer, toGrey } from './grey.js';
import { layOut } from './layout.js';
import { segment } from './segment.js';

/**
 * @typedef {object} Preprocessed
 * @property {Float32Array} image 28 × 28 of 0 to 1, ink 1 on paper 0
 * @property {{left: number, top: number, right: number, bottom: number} | null} box bounds of the ink, in pixels of
 *   the picture; null when blank
 * @property {import('./segment.js').Polarity | null} polarity null when blank
 */

/**
 * Find the digit in an image file and lay it out as the networks expect.
 * @param {Blob} file
 * @returns {Promise<Preprocessed>}
 * @throws {import('../result.js').Rejected} the image cannot be read
 */
export async function preprocess(file) {
  const picture = await decode(file);
  /** @type {import('./components.js').Bounds} */
  let region = [0, 0, picture.width, picture.height];
  let finer = false;
  for (;;) {
    const [grey, step] = toGrey(picture, region, finer);
    const relief = background(grey);
    const marks = segment(relief);
    const ink = marks && components(marks);
    if (ink) {
      const again = closer(region, ink.bounds, step);
      if (!again) return { image: layOut(ink.cover), box: boxOf(region, ink.bounds, step), polarity: ink.polarity };
      [region, finer] = [again, false];
    } else if (step > 1 && !finer) {
      finer = true; // a speck at this size may be a digit in a huge picture
    } else {
      return { image: new Float32Array(SIDE * SIDE), box: null, polarity: null };
    }
  }
}

/**
 * @param {import('./components.js').Bounds} region
 * @param {import('./components.js').Bounds} bounds
 * @param {number} step
 */
function boxOf([left, top, right, bottom], [x0, y0, x1, y1], step) {
  // The last pixel of a strip that was reduced to few pixels may reach beyond its edge.
  const [end, foot] = [Math.min(left + x1 * step, right), Math.min(top + y1 * step, bottom)];
  return { left: left + x0 * step, top: top + y0 * step, right: end, bottom: foot };
}
