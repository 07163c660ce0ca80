/**
 * Turn any picture into 28×28 pixels in MNIST's layout, ink 1 on paper 0. The steps are those of inkdigits/preprocess,
 * whose modules have the same names and give the reasons. A test compares both.
 */

import { SIDE } from './constants.js';
import { decode } from './decode.js';
import { closer, toGrey } from './grey.js';
import { findInk } from './ink.js';
import { layOut } from './layout.js';

/**
 * @typedef {object} Preprocessed
 * @property {Float32Array} image 28 × 28 of 0 to 1, ink 1 on paper 0
 * @property {{left: number, top: number, right: number, bottom: number} | null} box bounds of the ink, in pixels of
 *   the picture; null when blank
 * @property {import('./paper.js').Polarity | null} polarity null when blank
 * @property {Preprocessed[]} [parts] if the ink consists of parts that are far apart, each of them by itself
 * @property {Preprocessed} [otherwise] the ink with what the ink network took for rules or things at the border
 */

/**
 * Find the digit in an image file and lay it out as the networks expect.
 * @param {Blob} file
 * @param {import('./ink.js').InkLogits} inkLogits
 * @returns {Promise<Preprocessed>}
 * @throws {import('../result.js').Rejected} the image cannot be read
 */
export async function preprocess(file, inkLogits) {
  return preprocessPicture(await decode(file), inkLogits);
}

/**
 * Take the steps after decoding.
 * @param {import('./decode.js').Picture} picture
 * @param {import('./ink.js').InkLogits} inkLogits
 * @returns {Promise<Preprocessed>}
 */
export async function preprocessPicture(picture, inkLogits) {
  /** @type {import('./components.js').Bounds} */
  let region = [0, 0, picture.width, picture.height];
  let finer = false;
  for (;;) {
    const [grey, reduced] = toGrey(picture, region, finer);
    const { inks, times, otherwise } = await findInk(grey, inkLogits);
    if (inks.length) {
      const again = closer(region, inks[0].bounds, reduced / times);
      if (!again) {
        const whole = withParts(inks, region, reduced / times);
        return otherwise ? { ...whole, otherwise: withParts(otherwise, region, reduced) } : whole;
      }
      [region, finer] = [again, false];
    } else if (reduced > 1 && !finer) {
      finer = true; // a speck at this size may be a digit in a huge picture
    } else {
      return { image: new Float32Array(SIDE * SIDE), box: null, polarity: null };
    }
  }
}

/**
 * Lay out ink and its parts, the rest of the inks.
 * @param {import('./components.js').Ink[]} inks
 * @param {import('./components.js').Bounds} region
 * @param {number} step
 * @returns {Preprocessed}
 */
function withParts(inks, region, step) {
  const [whole, ...parts] = inks.map((ink) => laidOut(ink, region, step));
  return { ...whole, parts };
}

/**
 * @param {import('./components.js').Ink} ink
 * @param {import('./components.js').Bounds} region
 * @param {number} step
 * @returns {Preprocessed}
 */
function laidOut({ cover, bounds: [x0, y0, x1, y1], polarity }, [left, top, right, bottom], step) {
  // The last pixel of a strip that was reduced to few pixels may reach beyond its edge.
  const [end, foot] = [Math.min(left + x1 * step, right), Math.min(top + y1 * step, bottom)];
  return { image: layOut(cover), box: { left: left + x0 * step, top: top + y0 * step, right: end, bottom: foot }, polarity };
}
