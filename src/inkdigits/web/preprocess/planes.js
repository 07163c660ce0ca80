/** The input of the network that finds ink: a grey picture as two planes, without its brightness and contrast. */

import { mapped, sorted } from '../numeric.js';
import { EXTREME, FAINTEST, MOST, NEAR } from './constants.js';

/** @typedef {import('../numeric.js').Plane} Plane */

/**
 * Return a picture relative to all of it, and relative to the surroundings of each pixel.
 * @param {Plane} grey single precision, 0 to 255
 * @returns {[Float32Array, Float32Array]}
 */
export function planes({ width, height, data }) {
  const levels = sorted(data);
  const n = levels.length;
  const k = Math.trunc(EXTREME * (n - 1));
  const [low, high] = [levels[k], levels[n - 1 - k]];
  const middle = (levels[(n - 1) >> 1] + levels[n >> 1]) / 2;
  const sign = high - middle > middle - low ? -1 : 1;
  const centered = Float64Array.from(data, (value) => sign * (value - middle));
  const share = Math.fround(1 / Math.max(high - low, FAINTEST));
  const whole = Float32Array.from(centered, (value) => clipped(Math.fround(value) * share));
  const mean = nearMean(centered, width, height);
  const square = nearMean(mapped(centered, (value) => value * value), width, height);
  const local = Float32Array.from(centered, (value, i) => {
    return clipped((value - mean[i]) / Math.sqrt(Math.max(square[i] - mean[i] * mean[i], FAINTEST ** 2)));
  });
  return [whole, local];
}

/** @param {number} value */
const clipped = (value) => Math.min(Math.max(value, -MOST), MOST);

/**
 * Return the mean of the square of `2 * NEAR + 1` pixels around each pixel, within the picture.
 * @param {Float64Array} values
 * @param {number} width
 * @param {number} height
 */
function nearMean(values, width, height) {
  for (const [length, count, step, next] of [
    [height, width, width, 1],
    [width, height, 1, width],
  ]) {
    const source = values;
    values = new Float64Array(source.length);
    const total = new Float64Array(length + 1);
    for (let each = 0; each < count; each += 1) {
      for (let i = 0; i < length; i += 1) total[i + 1] = total[i] + source[each * next + step * i];
      for (let i = 0; i < length; i += 1) {
        const [first, last] = [Math.max(i - NEAR, 0), Math.min(i + NEAR + 1, length)];
        values[each * next + step * i] = (total[last] - total[first]) / (last - first);
      }
    }
  }
  return values;
}
