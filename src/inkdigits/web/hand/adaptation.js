/**
 * How answers adapt to a hand, as in inkdigits/adaptation.py: prototypes of the features of its digits, which are used only
 * if they help with these digits.
 */

import { CLASSES, SIDE } from '../preprocess/constants.js';
import { HEIGHTS, LEAST, POWER, SLANTS, STRENGTH, TURNS, WIDTHS } from './constants.js';

/**
 * @typedef {object} Example a labeled digit, as it is and in distorted copies
 * @property {number} label 0 to 9
 * @property {Float32Array[]} logits of ten digits, divided by the temperature, of each copy
 * @property {Float32Array[]} features of each copy
 */

/** What a model makes of a hand. */
export class Adaptation {
  /** @param {Example[]} examples */
  constructor(examples) {
    const seen = examples.map(({ label, logits, features }) => ({ label, logits, directions: features.map(direction) }));
    const sums = sumsOf(seen);
    this.examples = examples.length;
    /** examples and copies that are read right without prototypes, and with those of the other examples */
    this.rightBefore = this.rightAfter = 0;
    for (const { label, logits, directions } of seen) {
      const others = prototypesOf(sums, label, directions[0]);
      logits.forEach((each, copy) => {
        if (best(each) === label) this.rightBefore += 1;
        if (best(sum(each, boostsOf(directions[copy], others))) === label) this.rightAfter += 1;
      });
    }
    this.prototypes = prototypesOf(sums);
  }

  /** Whether the prototypes help with the hand's own digits; if not, answers stay as they are. */
  get isOn() {
    return this.rightAfter > this.rightBefore;
  }

  /**
   * What the logits of ten digits, divided by the temperature, gain.
   * @param {Float32Array} features of a picture
   * @returns {number[]}
   */
  boosts(features) {
    return this.isOn ? boostsOf(direction(features), this.prototypes) : Array(CLASSES).fill(0);
  }
}

/** @typedef {{total: Float64Array, count: number}} Sum of the directions of a digit's examples */
/** @typedef {{vector: Float64Array, weight: number}} Prototype */

/**
 * @param {{label: number, directions: Float64Array[]}[]} examples
 * @returns {(Sum | null)[]} of each digit; null without examples
 */
function sumsOf(examples) {
  /** @type {(Sum | null)[]} */
  const sums = Array(CLASSES).fill(null);
  for (const { label, directions } of examples) {
    const sum = (sums[label] ??= { total: new Float64Array(directions[0].length), count: 0 });
    directions[0].forEach((value, i) => (sum.total[i] += value));
    sum.count += 1;
  }
  return sums;
}

/**
 * @param {(Sum | null)[]} sums
 * @param {number} [without] digit of an example that is left out
 * @param {Float64Array} [left] its direction
 * @returns {(Prototype | null)[]}
 */
function prototypesOf(sums, without, left) {
  return sums.map((sum, digit) => {
    const isOf = digit === without && left !== undefined;
    const count = sum ? sum.count - Number(isOf) : 0;
    if (!sum || !count) return null;
    return { vector: direction(isOf ? sum.total.map((value, i) => value - left[i]) : sum.total), weight: count / (count + 1) };
  });
}

/**
 * @param {Float64Array} direction
 * @param {(Prototype | null)[]} prototypes
 */
const boostsOf = (direction, prototypes) =>
  prototypes.map((each) => (each ? STRENGTH * each.weight * Math.max(dot(direction, each.vector), 0) ** POWER : 0));

/** @param {ArrayLike<number>} features */
function direction(features) {
  const vector = Float64Array.from(features);
  const length = Math.max(Math.sqrt(dot(vector, vector)), LEAST);
  return vector.map((value) => value / length);
}

/**
 * @param {Float64Array} a
 * @param {Float64Array} b
 */
function dot(a, b) {
  let total = 0;
  for (let i = 0; i < a.length; i += 1) total += a[i] * b[i];
  return total;
}

/**
 * @param {ArrayLike<number>} logits
 * @param {number[]} boosts
 */
const sum = (logits, boosts) => boosts.map((boost, digit) => logits[digit] + boost);

/** @param {ArrayLike<number>} scores of ten digits */
function best(scores) {
  let digit = 0;
  for (let each = 1; each < CLASSES; each += 1) if (scores[each] > scores[digit]) digit = each;
  return digit;
}

/**
 * An image and its distorted copies: turned, slanted, stretched.
 * @param {Float32Array} image 28 × 28
 * @returns {Float32Array[]}
 */
export function copiesOf(image) {
  const middle = (SIDE - 1) / 2;
  const side = SIDE + 2; // with a margin of paper, so that all that is sampled is inside
  const padded = new Float64Array(side * side);
  for (let y = 0; y < SIDE; y += 1) padded.set(image.subarray(y * SIDE, (y + 1) * SIDE), (y + 1) * side + 1);
  const inside = (/** @type {number} */ place) => Math.min(Math.max(place + middle + 1, 0), SIDE + 1 - LEAST);
  const copies = maps().map(([a, b, c, d]) =>
    image.map((_, i) => {
      const [y, x] = [Math.trunc(i / SIDE) - middle, (i % SIDE) - middle];
      const [row, column] = [inside(a * y + b * x), inside(c * y + d * x)];
      const [top, left] = [Math.floor(row), Math.floor(column)];
      const [down, right] = [row - top, column - left];
      const at = top * side + left;
      const above = padded[at] * (1 - right) + padded[at + 1] * right;
      const below = padded[at + side] * (1 - right) + padded[at + side + 1] * right;
      return above * (1 - down) + below * down;
    }),
  );
  return [image, ...copies];
}

/** From rows and columns of a copy, counted from the middle, to those of the image. */
function maps() {
  const turns = TURNS.map((degrees) => (degrees * Math.PI) / 180);
  return [
    ...turns.map((turn) => [Math.cos(turn), -Math.sin(turn), Math.sin(turn), Math.cos(turn)]),
    ...SLANTS.map((slant) => [1, 0, slant, 1]),
    ...WIDTHS.map((width) => [1, 0, 0, width]),
    ...HEIGHTS.map((height) => [height, 0, 0, 1]),
  ];
}
