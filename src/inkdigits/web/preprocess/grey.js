/** Step 1, grey: reduce a region of a picture, and mix its colors to the channel that shows the ink best. */

import { rint, sum } from '../numeric.js';
import {
  CLOSE_MARGIN,
  CLOSE_SIDE,
  FINER,
  FINER_PIXELS,
  GAP,
  WORK_PIXELS,
  WORK_SHORT,
  WORK_SIDE,
} from './constants.js';

/** @typedef {import('../numeric.js').Plane} Plane */
/** @typedef {import('./components.js').Bounds} Bounds */
/** @typedef {import('./decode.js').Picture} Picture */

const WEIGHT_BITS = 22; // of the integers that Pillow's resampling weighs pixels with
const REDUCE_BITS = 24; // of the shares that Pillow's reduction multiplies sums by
const SQRT3 = 3 ** -0.5;

/**
 * Area-average a region to about WORK_SIDE, or FINER times that, in grey; also return the source pixels per pixel of it.
 * @param {Picture} picture
 * @param {Bounds} region whole pixels
 * @param {boolean} finer
 * @returns {[Plane, number]}
 */
export function toGrey(picture, region, finer) {
  const [width, height] = [region[2] - region[0], region[3] - region[1]];
  const [scale, most] = finer ? [FINER, FINER_PIXELS] : [1, WORK_PIXELS];
  const wanted = Math.min(Math.max(width, height) / WORK_SIDE, Math.min(width, height) / WORK_SHORT) / scale;
  // Bounds the length of a strip thinner than WORK_SHORT, too.
  const least = Math.max(((width * height) / most) ** 0.5, (Math.max(width, height) * WORK_SHORT) / most);
  const step = Math.max(1, wanted, least);
  const [across, down] = [Math.max(1, rint(width / step)), Math.max(1, rint(height / step))];
  return [mixed(resized(picture, across, down, region)), step];
}

/**
 * Area-average a picture to at most `side` pixels of its longer side, and `pixels` of all, in grey; also return the
 * pixels of the picture per pixel of it.
 * @param {Picture} picture
 * @param {number} side
 * @param {number} pixels
 * @returns {[Plane, number]}
 */
export function reduced(picture, side, pixels) {
  const { width, height } = picture;
  const step = Math.max(1, Math.max(width, height) / side, ((width * height) / pixels) ** 0.5);
  const [across, down] = [Math.max(1, rint(width / step)), Math.max(1, rint(height / step))];
  return [mixed(resized(picture, across, down, [0, 0, width, height])), step];
}

/**
 * Return the region around ink that is too small in a reduced picture; null if the ink is large enough.
 * @param {Bounds} region that was reduced
 * @param {Bounds} bounds of the ink, in pixels of the reduced picture
 * @param {number} step pixels of the picture per pixel of the reduced one
 * @returns {Bounds | null}
 */
export function closer([left, top, right, bottom], [x0, y0, x1, y1], step) {
  const long = Math.max(x1 - x0, y1 - y0);
  if (step <= 1 || long >= CLOSE_SIDE) return null;
  const margin = Math.max(CLOSE_MARGIN * long, 4);
  return [
    Math.floor(Math.max(left, left + (x0 - margin) * step)),
    Math.floor(Math.max(top, top + (y0 - margin) * step)),
    Math.ceil(Math.min(right, left + (x1 + margin) * step)),
    Math.ceil(Math.min(bottom, top + (y1 + margin) * step)),
  ];
}

/**
 * Project colors on their first principal axis, so that red on green of the same lightness is visible.
 * @param {Picture} picture
 * @returns {Plane}
 */
function mixed({ width, height, bands, data }) {
  const n = width * height;
  const grey = new Float32Array(n);
  if (bands === 1 || data.every((value, i) => value === data[i - (i % 3)])) {
    for (let i = 0; i < n; i += 1) grey[i] = data[i * bands];
    return { width, height, data: grey };
  }
  const mean = [0, 1, 2].map((band) => Math.fround(sum(0, n, (i) => data[3 * i + band]) / n));
  const covariance = [0, 1, 2].map((a) =>
    [0, 1, 2].map((b) => sum(0, n, (i) => (data[3 * i + a] - mean[a]) * (data[3 * i + b] - mean[b])) / n),
  );
  let axis = [SQRT3, SQRT3, SQRT3];
  for (let step = 0; step < 32; step += 1) {
    const image = covariance.map((row) => row[0] * axis[0] + row[1] * axis[1] + row[2] * axis[2]);
    const length = Math.hypot(...image);
    if (length < 1e-9) break;
    axis = image.map((value) => value / length);
  }
  const sign = axis[0] + axis[1] + axis[2] < 0 ? -SQRT3 : SQRT3;
  const [r, g, b] = axis.map((value) => Math.fround(value * sign));
  for (let i = 0; i < n; i += 1) grey[i] = data[3 * i] * r + data[3 * i + 1] * g + data[3 * i + 2] * b;
  return { width, height, data: grey };
}

/**
 * Scale a region by area, bit for bit like Pillow's `resize` with its box filter and reducing gap: first by whole
 * factors, then across, then down, in integers.
 * https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c
 * @param {Picture} picture
 * @param {number} across
 * @param {number} down
 * @param {Bounds} region
 * @returns {Picture}
 */
function resized(picture, across, down, [x0, y0, x1, y1]) {
  if (across === picture.width && down === picture.height && x0 === 0 && y0 === 0) return picture;
  const fx = Math.trunc((x1 - x0) / across / GAP) || 1;
  const fy = Math.trunc((y1 - y0) / down / GAP) || 1;
  if (fx > 1 || fy > 1) {
    picture = averaged(picture, fx, fy, [x0, y0, x1, y1]);
    [x0, y0, x1, y1] = [0, 0, (x1 - x0) / fx, (y1 - y0) / fy];
  }
  const { width, height, bands, data } = picture;
  const columns = weights(width, across, x0, x1);
  const rows = weights(height, down, y0, y1);
  const rounding = 2 ** (WEIGHT_BITS - 1);
  const [top, end] = [rows[0].from, rows[down - 1].from + rows[down - 1].shares.length];
  const between = new Uint8Array((end - top) * across * bands);
  for (let y = top, k = 0; y < end; y += 1) {
    for (const { from, shares } of columns) {
      for (let band = 0; band < bands; band += 1, k += 1) {
        let total = rounding;
        let i = (y * width + from) * bands + band;
        for (let each = 0; each < shares.length; each += 1, i += bands) total += data[i] * shares[each];
        between[k] = Math.min(total >> WEIGHT_BITS, 255);
      }
    }
  }
  const stride = across * bands;
  const out = new Uint8Array(down * stride);
  rows.forEach(({ from, shares }, y) => {
    for (let x = 0; x < stride; x += 1) {
      let total = rounding;
      let i = (from - top) * stride + x;
      for (let each = 0; each < shares.length; each += 1, i += stride) total += between[i] * shares[each];
      out[y * stride + x] = Math.min(total >> WEIGHT_BITS, 255);
    }
  });
  return { width: across, height: down, bands, data: out };
}

/**
 * Reduce a region by whole factors, bit for bit like Pillow's `reduce`; the last pixels average what is left.
 * https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Reduce.c
 * @param {Picture} picture
 * @param {number} fx
 * @param {number} fy
 * @param {Bounds} region
 * @returns {Picture}
 */
function averaged({ width, bands, data }, fx, fy, [x0, y0, x1, y1]) {
  const [across, down] = [Math.ceil((x1 - x0) / fx), Math.ceil((y1 - y0) / fy)];
  const out = new Uint8Array(across * down * bands);
  const totals = new Float64Array(across * bands);
  for (let row = 0; row < down; row += 1) {
    const [top, end] = [y0 + row * fy, Math.min(y0 + (row + 1) * fy, y1)];
    totals.fill(0);
    for (let y = top; y < end; y += 1) {
      for (let x = x0, i = (y * width + x0) * bands; x < x1; x += 1) {
        const k = Math.trunc((x - x0) / fx) * bands;
        for (let band = 0; band < bands; band += 1, i += 1) totals[k + band] += data[i];
      }
    }
    for (let k = 0; k < totals.length; k += 1) {
      const columns = Math.min(fx, x1 - x0 - Math.trunc(k / bands) * fx);
      const count = columns * (end - top);
      const share = Math.trunc(2 ** REDUCE_BITS / count);
      out[row * totals.length + k] = Math.trunc(((totals[k] + Math.trunc(count / 2)) * share) / 2 ** REDUCE_BITS);
    }
  }
  return { width: across, height: down, bands, data: out };
}

/**
 * Return the source pixels and weights of each pixel of a shorter line.
 * @param {number} size of the whole line
 * @param {number} to pixels
 * @param {number} first of the region
 * @param {number} end of the region
 */
function weights(size, to, first, end) {
  const scale = (end - first) / to;
  const support = 0.5 * scale;
  return Array.from({ length: to }, (_, i) => {
    const center = first + (i + 0.5) * scale;
    const low = Math.max(0, Math.trunc(center - support + 0.5));
    const high = Math.min(size, Math.trunc(center + support + 0.5));
    const inside = Array.from({ length: high - low }, (_, k) => {
      const place = (k + low - center + 0.5) / scale;
      return place > -0.5 && place <= 0.5 ? 1 : 0;
    });
    const count = sum(0, inside.length, (k) => inside[k]);
    return { from: low, shares: inside.map((share) => Math.trunc(0.5 + (share / count) * 2 ** WEIGHT_BITS)) };
  });
}
