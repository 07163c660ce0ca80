/** Step 3, lines: the line network reads the ink of a number: what stands in each frame of two columns, and where. */

import { rint, sum } from '../numeric.js';
import { LINE_HEIGHT, LINE_MARGIN } from '../preprocess/constants.js';
import { layOutLine } from '../preprocess/layout.js';
import { ALIKE, BATCH_PIXELS, BOX, FRAME, LOGITS } from './constants.js';

/** @typedef {import('../numeric.js').Plane} Plane */
/** @typedef {(lines: Float32Array, count: number, height: number, width: number) => Promise<Float32Array>} LineLogits */

/**
 * @typedef {object} Frames what the network finds in a line
 * @property {number[][]} scores log-probabilities of each frame: of no character, and of each character
 * @property {number[][]} boxes left, top, right and bottom of the character in each frame, in pixels of the ink
 */

/**
 * Read lines of ink; lines of about one length in one run.
 * @param {Plane[]} inks cropped to the ink, 0 to 1
 * @param {LineLogits} lineLogits the network
 * @returns {Promise<Frames[]>}
 */
export async function readLines(inks, lineLogits) {
  const laidOut = inks.map((ink) => layOutLine(ink));
  const order = [...inks.keys()].sort((a, b) => laidOut[a][0].width - laidOut[b][0].width);
  /** @type {Frames[]} */
  const found = [];
  while (order.length) {
    const widest = laidOut[order[order.length - 1]][0].width;
    const size = LINE_HEIGHT * widest;
    const most = Math.max(1, Math.trunc(BATCH_PIXELS / size));
    const like = order.findIndex((i) => laidOut[i][0].width >= ALIKE * widest);
    const some = order.splice(Math.max(like, order.length - most));
    const batch = new Float32Array(some.length * size);
    some.forEach((i, row) => {
      const [{ width, data }] = laidOut[i];
      for (let y = 0; y < LINE_HEIGHT; y += 1) {
        batch.set(data.subarray(y * width, (y + 1) * width), row * size + y * widest);
      }
    });
    const output = await lineLogits(batch, some.length, LINE_HEIGHT, widest);
    const each = output.length / some.length;
    some.forEach((i, row) => {
      const [line, scale] = laidOut[i];
      const values = output.subarray(row * each, (row + 1) * each);
      found[i] = framesOf(values, Math.trunc(line.width / FRAME), scale, inks[i]);
    });
  }
  return found;
}

/**
 * @param {Float32Array} output by row: LOGITS logits and the sides of the box, each for all frames
 * @param {number} count frames of the line; the rest are padding
 * @param {number} scale pixels of the line per pixel of the ink
 * @param {Plane} ink
 * @returns {Frames}
 */
function framesOf(output, count, scale, { width, height }) {
  const stride = output.length / (LOGITS + BOX);
  const top = (LINE_HEIGHT - rint(scale * height)) / 2;
  const within = (/** @type {number} */ value, /** @type {number} */ most) =>
    Math.min(Math.max(value / scale, 0), most);
  const frames = Array.from({ length: count }, (_, t) =>
    Array.from({ length: LOGITS + BOX }, (_, i) => output[i * stride + t]),
  );
  const boxes = frames.map((frame, t) => {
    const x = FRAME * t + FRAME / 2 - LINE_MARGIN;
    const [before, above, after, below] = frame.slice(LOGITS).map((value) => LINE_HEIGHT * value);
    return [
      within(x - before, width),
      within(above - top, height),
      within(x + after, width),
      within(below - top, height),
    ];
  });
  return { scores: frames.map((frame) => logSoftmax(frame.slice(0, LOGITS))), boxes };
}

/** @param {number[]} logits */
function logSoftmax(logits) {
  const most = Math.max(...logits);
  const total = Math.log(sum(0, logits.length, (i) => Math.exp(logits[i] - most)));
  return logits.map((logit) => logit - most - total);
}
