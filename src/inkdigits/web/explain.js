/** Why: how much each part of the ink mattered, as a picture that is laid over the drawing. */

import { BOX_SIDE, SIDE } from './preprocess/constants.js';

/** @typedef {import('./reader.js').Answer} Answer */
/** @typedef {import('./paint.js').Picture} Picture */

/**
 * @typedef {object} Heat
 * @property {OffscreenCanvas} image 28 × 28
 * @property {number} left on the pad, pad units
 * @property {number} top
 * @property {number} side
 */

const FAINTEST = 0.06; // of the strongest part; less is left as ink

/**
 * The explanation of an answer as colours, placed where the ink of its picture lies; null when there is none.
 * @param {Answer} answer with what the network saw
 * @param {Picture} picture that was read
 * @param {{for: string, against: string}} colours
 * @returns {Heat | null}
 */
export function heatOf({ explanation, image, box }, picture, colours) {
  if (!explanation || !image || !box) return null;
  const inked = image.map((row) => row.findIndex((value) => value > 0));
  const row = inked.findIndex((column) => column >= 0);
  const column = Math.min(...inked.filter((each) => each >= 0));
  if (row < 0) return null;
  const canvas = new OffscreenCanvas(SIDE, SIDE);
  const context = canvas.getContext('2d');
  if (!context) return null;
  explanation.forEach((values, y) =>
    values.forEach((value, x) => {
      if (Math.abs(value) < FAINTEST) return;
      context.globalAlpha = Math.sqrt(Math.abs(value)); // so that weak parts show as well
      context.fillStyle = value > 0 ? colours.for : colours.against;
      context.fillRect(x, y, 1, 1);
    }),
  );
  const cell = Math.max(box.right - box.left, box.bottom - box.top) / BOX_SIDE / picture.scale;
  return {
    image: canvas,
    left: picture.left + box.left / picture.scale - column * cell,
    top: picture.top + box.top / picture.scale - row * cell,
    side: SIDE * cell,
  };
}
