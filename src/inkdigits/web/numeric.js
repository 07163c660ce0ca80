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
