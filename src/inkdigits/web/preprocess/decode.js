/** Decode any picture into upright, opaque pixels with the browser's decoders. For reasons, see preprocess/decode.py. */

import { quantile, rint } from '../numeric.js';
import { Rejected } from '../result.js';
import { text } from '../strings.js';
import { LUMA, MAX_PIXELS, MIN_SIDE, OPAQUE, TONE_SIDE, TONE_SPREAD } from './constants.js';

/**
 * @typedef {object} Picture opaque and upright
 * @property {number} width
 * @property {number} height
 * @property {1 | 3} bands grey, or red, green and blue
 * @property {Uint8Array} data pixel by pixel, row by row
 */

/**
 * Decode an image file as it is displayed: upright, first frame, alpha composited on the paper.
 * @param {Blob} file
 * @returns {Promise<Picture>}
 * @throws {Rejected} the image cannot be read
 */
export async function decode(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
  } catch {
    throw new Rejected(text.notShown);
  }
  const { width, height } = bitmap;
  if (Math.max(width, height) < MIN_SIDE) throw new Rejected(text.tooSmall(width, height, MIN_SIDE));
  if (width * height > MAX_PIXELS) throw new Rejected(text.tooLarge(width, height, MAX_PIXELS));
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  if (!context) throw new Error(text.noCanvas);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return flatten(width, height, context.getImageData(0, 0, width, height).data);
}

/**
 * Composite RGBA pixels on their paper; grey ones give one band.
 * @param {number} width
 * @param {number} height
 * @param {Uint8ClampedArray} pixels
 * @returns {Picture}
 */
export function flatten(width, height, pixels) {
  let [isOpaque, isGrey] = [true, true];
  for (let i = 0; i < pixels.length; i += 4) {
    isOpaque &&= pixels[i + 3] === 255;
    isGrey &&= pixels[i] === pixels[i + 1] && pixels[i] === pixels[i + 2];
  }
  const paper = isOpaque ? 255 : paperOf(width, height, pixels);
  const bands = isGrey ? 1 : 3;
  const data = new Uint8Array(width * height * bands);
  for (let i = 0, k = 0; i < pixels.length; i += 4) {
    const alpha = pixels[i + 3];
    for (let band = 0; band < bands; band += 1, k += 1) {
      // Divide by 255 in integers, as Pillow does.
      const blend = pixels[i + band] * alpha + paper * (255 - alpha) + 128;
      data[k] = alpha === 255 ? pixels[i + band] : ((blend >> 8) + blend) >> 8;
    }
  }
  return { width, height, bands, data };
}

/**
 * Return the grey of the paper under a picture with alpha. Opaque pixels of one tone are ink, and the paper is white or
 * black, whichever is farther. If they differ, they are ink and paper, and most of them are paper.
 * @param {number} width
 * @param {number} height
 * @param {Uint8ClampedArray} pixels
 */
function paperOf(width, height, pixels) {
  const stride = Math.max(1, Math.trunc(Math.max(width, height) / TONE_SIDE));
  const [across, down] = [Math.trunc(width / stride), Math.trunc(height / stride)];
  const tones = [];
  for (let y = 0; y < down; y += 1) {
    for (let x = 0; x < across; x += 1) {
      const row = Math.trunc(((y + 0.5) * height) / down);
      const i = 4 * (row * width + Math.trunc(((x + 0.5) * width) / across));
      if (pixels[i + 3] < OPAQUE) continue;
      tones.push(LUMA[0] * pixels[i] + LUMA[1] * pixels[i + 1] + LUMA[2] * pixels[i + 2]);
    }
  }
  if (!tones.length) return 255;
  const order = Float32Array.from(tones).sort();
  const [low, tone, high] = [0.05, 0.5, 0.95].map((share) => quantile(order, share));
  if (high - low > TONE_SPREAD) return rint(tone);
  return tone < 128 ? 255 : 0;
}
