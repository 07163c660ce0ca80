/** What NumPy and Pillow do with numbers, so that a picture gives the same array in the browser as in Python. */

/** @typedef {Float32Array | Float64Array} Floats single or double precision, as the same step in Python has it */
/** @typedef {{width: number, height: number, data: Floats}} Plane row by row */
/** @typedef {{width: number, height: number, data: Uint8Array}} Mask 0 or 1, row by row */

/**
 * Round to the nearest integer, halves to even.
 * @param {number} x
 */
export function rint(x) {
  const nearest = Math.round(x);
  return Math.abs(x % 1) === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}

/**
 * Return the function that rounds a bound to the precision of the values it is compared with.
 * @param {Floats} values
 * @returns {(x: number) => number}
 */
export const precision = (values) => (values instanceof Float32Array ? Math.fround : (x) => x);

/**
 * @param {Floats} values
 * @param {number} length
 * @returns {Floats} zeros of the same precision
 */
export const zerosLike = (values, length = values.length) =>
  values instanceof Float32Array ? new Float32Array(length) : new Float64Array(length);

/**
 * @template {Floats} T
 * @param {T} values
 * @param {(value: number, i: number) => number} function_ of each value
 * @returns {T}
 */
export function mapped(values, function_) {
  const out = zerosLike(values);
  for (let i = 0; i < values.length; i += 1) out[i] = function_(values[i], i);
  return /** @type {T} */ (out);
}

/**
 * @template {Floats} T
 * @param {T} values
 * @returns {T} the values in ascending order; `values` is unchanged
 */
export const sorted = (values) => /** @type {T} */ (values.slice().sort());

/**
 * @param {Floats} values one or more
 * @returns {number} the middle one, or the mean of the two in the middle
 */
export function median(values) {
  const order = sorted(values);
  const middle = order.length >> 1;
  if (order.length % 2) return order[middle];
  const round = precision(values);
  return round(round(order[middle - 1] + order[middle]) / 2);
}

/**
 * Return the value below which a share of the values lies, interpolated linearly.
 * @param {Floats} order ascending
 * @param {number} share 0 to 1
 */
export function quantile(order, share) {
  const at = share * (order.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, order.length - 1);
  return order[low] + (order[high] - order[low]) * (at - low);
}

/**
 * @param {number} from
 * @param {number} to
 * @param {(i: number) => number} term
 */
export function sum(from, to, term) {
  let total = 0;
  for (let i = from; i < to; i += 1) total += term(i);
  return total;
}

/**
 * Solve a · x = b by Gaussian elimination with partial pivoting. Both are overwritten.
 * @param {number[][]} a n × n, not singular
 * @param {number[]} b
 * @returns {number[]}
 */
export function solve(a, b) {
  const n = b.length;
  for (let column = 0; column < n; column += 1) {
    let pivot = column;
    for (let row = column + 1; row < n; row += 1) {
      if (Math.abs(a[row][column]) > Math.abs(a[pivot][column])) pivot = row;
    }
    [a[column], a[pivot]] = [a[pivot], a[column]];
    [b[column], b[pivot]] = [b[pivot], b[column]];
    for (let row = column + 1; row < n; row += 1) {
      const factor = a[row][column] / a[column][column];
      for (let k = column; k < n; k += 1) a[row][k] -= factor * a[column][k];
      b[row] -= factor * b[column];
    }
  }
  for (let row = n - 1; row >= 0; row -= 1) {
    b[row] = (b[row] - sum(row + 1, n, (k) => a[row][k] * b[k])) / a[row][row];
  }
  return b;
}
