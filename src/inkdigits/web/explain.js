/** The explanation: how much each part of the ink mattered, as a heatmap over the drawing. */

import { BOX_SIDE, SIDE } from './preprocess/constants.js';

/** @typedef {import('./types.js').Prediction} Prediction */
/** @typedef {import('./paint.js').Picture} Picture */

/**
 * @typedef {object} Heatmap
 * @property {OffscreenCanvas} image 28 × 28
 * @property {number} left on the pad, pad units
 * @property {number} top
 * @property {number} side
 */

const FAINTEST = 0.06; // share of the strongest part; weaker ones keep the color of ink

/**
 * The heatmap of an answer, placed where the ink of its picture is; null if the answer has no explanation.
 * @param {Prediction} answer with the network's input
 * @param {Picture} picture that was read
 * @param {{for: string, against: string}} colors
 * @returns {Heatmap | null}
 */
export function heatmapOf({ explanation, image, box }, picture, colors) {
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
      context.globalAlpha = Math.sqrt(Math.abs(value)); // makes weak parts visible
      context.fillStyle = value > 0 ? colors.for : colors.against;
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
