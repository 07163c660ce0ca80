/** Step 2, background: subtract the paper from a picture, in any light. */

import { mapped, median, precision, solve, sorted, zerosLike } from '../numeric.js';
import {
  AS_DEEP,
  BORDER,
  FULL_SCALE,
  GRAINY,
  GRAIN_ROWS,
  GRAIN_SIDE,
  MAD,
  MIN_CONTRAST,
  MOST_INK_ON_BORDER,
  NOISE_FACTOR,
  SMOOTH,
  SURFACE_SAMPLES,
  UNEVEN,
  UNEVEN_QUANTILES,
  WINDOW,
} from './constants.js';

/** @typedef {import('../numeric.js').Floats} Floats */
/** @typedef {import('../numeric.js').Plane} Plane */

/**
 * @typedef {object} Relief a picture without its paper
 * @property {Plane} above grey levels above the paper's; negative for ink that is darker than the paper
 * @property {number} grain standard deviation of the remaining grain
 * @property {number} floor grey levels by which ink differs from the paper, at least
 */

/**
 * Subtract the paper from a picture.
 * @param {Plane} picture single precision, 0 to 255
 * @returns {Relief}
 */
export function background(picture) {
  const [grey, grain] = smooth(picture);
  const floor = Math.max(MIN_CONTRAST, NOISE_FACTOR * grain);
  return { above: abovePaper(grey, grain, floor), grain, floor };
}

/**
 * Return the pixels of the border, flat.
 * @template {import('../numeric.js').Floats | Uint8Array} T
 * @param {{width: number, height: number, data: T}} plane
 * @returns {T}
 */
export function border({ width, height, data }) {
  const b = Math.max(1, Math.trunc(BORDER * Math.min(width, height) + 0.5));
  const inner = Math.max(width - 2 * b, 0) * Math.max(height - 2 * b, 0);
  const out = /** @type {T} */ (data.slice(0, width * height - inner));
  let k = 0;
  for (let y = 0; y < height; y += 1) {
    const row = data.subarray(y * width, (y + 1) * width);
    const parts = y < b || y >= height - b || width <= 2 * b ? [row] : [row.subarray(0, b), row.subarray(width - b)];
    for (const part of parts) {
      out.set(part, k);
      k += part.length;
    }
  }
  return out;
}

/**
 * Smooth a grainy picture; also return the standard deviation of the grain that remains.
 * @param {Plane} grey
 * @returns {[Plane, number]}
 */
function smooth(grey) {
  const grain = grainOf(grey);
  const { width, height } = grey;
  const reach = Math.trunc(Math.max(width, height) / SMOOTH);
  if (grain <= GRAINY || !reach) return [grey, grain];
  let data = grey.data;
  let area = 1;
  for (const [length, count, step, next] of [
    [height, width, width, 1],
    [width, height, 1, width],
  ]) {
    const near = Math.min(reach, (length - 1) >> 1); // across a strip, no farther than it is wide
    const side = 2 * near + 1;
    area *= side;
    const source = data;
    data = new Float32Array(source.length);
    const total = new Float64Array(length + side);
    for (let each = 0; each < count; each += 1) {
      for (let i = 0; i < length + side - 1; i += 1) {
        const from = Math.min(Math.max(i - near, 0), length - 1);
        total[i + 1] = total[i] + source[each * next + step * from];
      }
      for (let i = 0; i < length; i += 1) data[each * next + step * i] = (total[i + side] - total[i]) / side;
    }
  }
  const smoothed = { width, height, data };
  // A mean of k pixels reduces independent grain to 1/√k; real grain is somewhat correlated.
  return [smoothed, Math.max(grainOf(smoothed), grain / area ** 0.5)];
}

/**
 * Estimate the grain's standard deviation from second differences, which uneven light hardly changes.
 * @param {Plane} grey
 */
function grainOf({ width, height, data }) {
  if (Math.min(width, height) < GRAIN_SIDE) return 0;
  const round = precision(data);
  const stride = Math.max(1, Math.trunc(height / GRAIN_ROWS));
  const rows = Math.ceil(height / stride);
  const differences = new Float32Array(rows * (width - 2));
  for (let row = 0, k = 0; row < rows; row += 1) {
    for (let i = row * stride * width + 1, end = i + width - 2; i < end; i += 1, k += 1) {
      differences[k] = Math.abs(round(data[i + 1] - 2 * data[i]) + data[i - 1]);
    }
  }
  differences.sort();
  return (MAD * differences[differences.length >> 1]) / 6 ** 0.5;
}

/**
 * Subtract the simplest paper that explains the border.
 *
 * That is one level, if the border has one level apart from ink that touches it; else a smooth surface; else the paper
 * around each pixel, for shadows and folds.
 * @param {Plane} grey single precision, 0 to 255
 * @param {number} grain
 * @param {number} floor
 * @returns {Plane} single precision
 */
function abovePaper(grey, grain, floor) {
  const { width, height } = grey;
  const tolerance = UNEVEN + 3 * grain;
  const edge = sorted(border(grey));
  const level = edge[edge.length >> 1];
  const flat = { width, height, data: mapped(grey.data, (value) => value - level) };
  if (spread(edge) <= tolerance || isInk(flat, floor, tolerance)) return flat;
  /** @type {Floats} */
  let paper = surface(grey);
  /** @type {Plane} */
  let above = { width, height, data: mapped(paper, (value, i) => grey.data[i] - value) };
  if (spread(sorted(border(above))) > tolerance && !isInk(above, floor, tolerance)) {
    const light = mostlyLightOnDark(grey);
    const around = surroundings(grey, light);
    const rise = mapped(around, (value, i) => grey.data[i] - value);
    const ride = median(rise); // the closing of grain rides on its peaks
    const extreme = light ? Math.max : Math.min;
    above = { width, height, data: mapped(rise, (value) => extreme(Math.fround(value - ride), 0)) };
    paper = around;
  }
  // In half the light, ink has half the contrast: scale it by the contrast that is possible at each pixel.
  const round = precision(above.data);
  const room = mapped(paper, (value, i) => (above.data[i] < 0 ? value : FULL_SCALE - value));
  const usual = median(room);
  const levelled = Float32Array.from(above.data, (value, i) => {
    return value * Math.min(Math.max(round(usual / Math.max(room[i], 1)), 0.5), 4);
  });
  return { width, height, data: levelled };
}

/**
 * Return the distance between the darker and the lighter part of sorted levels.
 * @param {Floats} levels
 */
function spread(levels) {
  const [low, high] = ends(levels);
  return precision(levels)(high - low);
}

/**
 * Return the darker and the lighter end of sorted levels, without outliers.
 * @param {Floats} levels
 */
const ends = (levels) => UNEVEN_QUANTILES.map((share) => levels[Math.trunc(share * (levels.length - 1))]);

/**
 * Return whether deviations on the border are ink that touches it: few, of one sign, as deep as the ink inside.
 * @param {Plane} signed
 * @param {number} floor
 * @param {number} tolerance
 */
function isInk(signed, floor, tolerance) {
  const round = precision(signed.data);
  const edge = border(signed);
  const bound = round(tolerance);
  const darker = edge.filter((value) => value < -bound).length / edge.length;
  const lighter = edge.filter((value) => value > bound).length / edge.length;
  if (darker + lighter > MOST_INK_ON_BORDER) return false;
  if (Math.min(darker, lighter) > 0.1 * Math.max(darker, lighter)) return false;
  const deviant = mapped(edge, Math.abs).filter((value) => value > bound);
  if (!deviant.length) return true; // all of the border is near enough to one level
  const least = round(floor);
  const marks = mapped(signed.data, Math.abs)
    .filter((value) => value >= least)
    .sort();
  if (!marks.length) return false;
  return median(deviant) > round(round(AS_DEEP) * marks[Math.trunc(0.985 * (marks.length - 1))]);
}

/**
 * Fit the paper under light from one side: a quadratic surface through the pixels of the paper.
 *
 * Iteratively reweighted least squares with Tukey's biweight (A. Beaton and J. Tukey, 1974, doi:10.2307/1267936),
 * first on the border, which is mostly paper, then on the whole picture, where ink is the outlier.
 * @param {Plane} grey
 */
function surface({ width, height, data }) {
  const stride = Math.max(1, Math.trunc(Math.max(width, height) / SURFACE_SAMPLES));
  const at = (/** @type {number} */ i, /** @type {number} */ side) => i * (2 / side) - 1;
  const [across, down] = [Math.ceil(width / stride), Math.ceil(height / stride)];
  /** @type {{terms: number[], value: number, edge: boolean}[]} */
  const samples = [];
  for (let row = 0; row < down; row += 1) {
    for (let column = 0; column < across; column += 1) {
      const [x, y] = [at(column * stride, width), at(row * stride, height)];
      const edge = row < 2 || column < 2 || row >= down - 2 || column >= across - 2;
      const value = data[row * stride * width + column * stride];
      samples.push({ terms: [1, x, y, x * y, x * x, y * y], value, edge });
    }
  }
  let chosen = samples.filter(({ edge }) => edge);
  let c = [median(Float64Array.from(chosen, ({ value }) => value)), 0, 0, 0, 0, 0];
  let scale = 0.4 * FULL_SCALE;
  for (let step = 0; step < 12; step += 1) {
    if (step === 6) chosen = samples;
    const residual = Float64Array.from(chosen, ({ terms, value }) => value - dot(terms, c));
    if (step) scale = Math.max(4 * MAD * median(mapped(residual, Math.abs)), 0.01 * FULL_SCALE);
    const a = c.map((_, row) => c.map((_, column) => (row === column ? 1e-6 : 0)));
    const b = c.map(() => 0);
    chosen.forEach(({ terms, value }, i) => {
      const weight = Math.max(1 - (residual[i] / scale) ** 2, 0) ** 2;
      for (let row = 0; row < 6; row += 1) {
        for (let column = 0; column < 6; column += 1) a[row][column] += terms[row] * weight * terms[column];
        b[row] += terms[row] * weight * value;
      }
    });
    c = solve(a, b);
  }
  return Float64Array.from(data, (_, i) => {
    const [x, y] = [at(i % width, width), at(Math.trunc(i / width), height)];
    return c[0] + c[2] * y + c[5] * y * y + (c[1] * x + c[4] * x * x) + c[3] * y * x;
  });
}

/**
 * @param {number[]} a
 * @param {number[]} b
 */
const dot = (a, b) => a.reduce((total, value, i) => total + value * b[i], 0);

/**
 * Return the paper around each pixel: the closing of the picture for dark ink, its opening for light ink.
 *
 * Both remove everything narrower than the window; shadows and folds are wider than strokes.
 * J. Serra, Image Analysis and Mathematical Morphology, 1982.
 * @param {Plane} grey
 * @param {boolean} lightInk
 * @returns {Floats}
 */
function surroundings(grey, lightInk) {
  const window = Math.max(3, Math.trunc(WINDOW * Math.max(grey.width, grey.height)));
  const [first, second] = lightInk ? [Math.min, Math.max] : [Math.max, Math.min];
  return running(running(grey, window, first), window, second).data;
}

/**
 * Return whether more of the picture is lighter than the border, its paper in light and shadow, than darker.
 * @param {Plane} grey
 */
function mostlyLightOnDark(grey) {
  const [darkest, lightest] = ends(sorted(border(grey)));
  let [above, below] = [0, 0];
  for (const value of grey.data) {
    above += Math.max(value - lightest, 0) ** 2;
    below += Math.max(darkest - value, 0) ** 2;
  }
  return above > below;
}

/**
 * Take the maximum or minimum over a square window, mirrored at the border, in log₂(window) steps per axis.
 * @param {Plane} plane
 * @param {number} window
 * @param {(a: number, b: number) => number} extreme
 * @returns {Plane}
 */
function running({ width, height, data }, window, extreme) {
  let out = data;
  for (const [length, count, step, next] of [
    [height, width, width, 1],
    [width, height, 1, width],
  ]) {
    // Covers the whole line from any pixel; a wider window adds nothing.
    const along = Math.min(window, 2 * length - 1);
    const before = along >> 1;
    const source = out;
    out = zerosLike(data);
    for (let each = 0; each < count; each += 1) {
      let line = Array.from({ length: length + along - 1 }, (_, i) => {
        return source[each * next + step * padded(i - before, length, along)];
      });
      for (let span = 1; span < along; ) {
        const shift = Math.min(span, along - span);
        line = line.slice(shift).map((value, i) => extreme(line[i], value));
        span += shift;
      }
      for (let i = 0; i < length; i += 1) out[each * next + step * i] = line[i];
    }
  }
  return { width, height, data: out };
}

/**
 * Map an index beyond the border: mirrored if the line is longer than the window, else the border.
 * @param {number} i
 * @param {number} length
 * @param {number} window
 */
function padded(i, length, window) {
  if (length <= window) return Math.min(Math.max(i, 0), length - 1);
  return i < 0 ? -i : i >= length ? 2 * (length - 1) - i : i;
}
