/**
 * Step 5, scoring: choose the text of a number. The line network proposes texts; the network for single digits, which
 * reads each character that stands alone, is a witness. For reasons, see inkdigits/reading/scoring.py.
 */

import { MARK } from '../preprocess/constants.js';
import { CALIBRATION, LEAST, SURE, SUREST } from './constants.js';
import { align, logProbability, search } from './search.js';

/** @typedef {import('./lines.js').Frames} Frames */

const NEARLY_NONE = 1e-9; // probability; its logarithm is taken

/**
 * @typedef {object} Witness what the network for single digits says of the ink of one character group
 * @property {number} left of the ink, in pixels of the number's ink
 * @property {number} right
 * @property {number[]} digits ten log-probabilities
 * @property {number} score probability that it is a digit at all
 * @property {boolean} isDigit whether it is accepted as one
 *
 * @typedef {object} Scored a text of a number
 * @property {string} text
 * @property {number} confidence calibrated probability that it is right
 * @property {number[]} frames the frame of each character
 * @property {number[]} groups the group of each character; characters of one group touch
 * @property {number[]} each probability of each character
 */

/**
 * Return the texts that a number may be, the most likely first; none, if no text is likely enough.
 * @param {Frames} frames
 * @param {Witness[]} witnesses
 * @returns {Scored[]}
 */
export function score(frames, witnesses) {
  const proposed = new Map(search(frames.scores));
  if (!proposed.size) return [];
  const [best] = proposed.keys();
  for (const text of corrected(best, frames, witnesses)) {
    if (!proposed.has(text)) proposed.set(text, logProbability(frames.scores, text));
  }
  const scored = [...proposed].map(([text, likely]) => {
    const at = align(frames.scores, text);
    const groups = groupsOf(at, frames, witnesses);
    return { text, frames: at, groups, total: likely + CALIBRATION.witness * testimony(text, groups, witnesses) };
  });
  const highest = Math.max(...scored.map(({ total }) => total));
  const whole = scored.reduce((sum, { total }) => sum + Math.exp(total - highest), 0);
  const probability = new Map(scored.map(({ text, total }) => [text, Math.exp(total - highest) / whole]));
  const of = (/** @type {string} */ text) => probability.get(text) ?? 0;
  scored.sort((a, b) => of(b.text) - of(a.text));
  const [first] = scored;
  const certainty = certaintyOf(first.text, of(first.text), first.groups);
  const confidence = 1 / (1 + Math.exp(-clipped(certainty)));
  // What the best text loses or gains by its calibration, the others gain or lose.
  const times = (1 - confidence) / Math.max(1 - of(first.text), NEARLY_NONE);
  return scored.map(({ text, frames, groups }) => ({
    text,
    confidence: text === first.text ? confidence : of(text) * times,
    frames,
    groups,
    each: eachOf(text, probability).map((each) => Math.max(0, 1 - (1 - each) * times)),
  }));
}

/** @param {number} logit */
const clipped = (logit) => Math.max(-SUREST, Math.min(SUREST, logit));

/**
 * Return the logit of the probability that a text is right.
 * @param {string} text
 * @param {number} probability among the proposed texts
 * @param {number[]} groups
 */
function certaintyOf(text, probability, groups) {
  const p = Math.min(Math.max(probability, NEARLY_NONE), 1 - NEARLY_NONE);
  const touching = groups.filter((group) => groups.indexOf(group) !== groups.lastIndexOf(group)).length;
  const features = [clipped(Math.log(p / (1 - p))), 1, touching / text.length, text.length / 10];
  return features.reduce((total, feature, i) => total + CALIBRATION.weights[i] * feature, 0);
}

/**
 * Return the witness whose ink each character is.
 * @param {number[]} at frames
 * @param {Frames} frames
 * @param {Witness[]} witnesses
 */
function groupsOf(at, { boxes }, witnesses) {
  return at.map((frame) => {
    const [left, , right] = boxes[frame];
    const middle = (left + right) / 2;
    const away = witnesses.map((each) => Math.max(each.left - middle, middle - each.right, 0));
    const off = witnesses.map((each) => Math.abs((each.left + each.right) / 2 - middle));
    const isNearer = (/** @type {number} */ i, /** @type {number} */ j) =>
      away[i] < away[j] || (away[i] === away[j] && off[i] < off[j]);
    return witnesses.reduce((best, _, i) => (isNearer(i, best) ? i : best), 0);
  });
}

/**
 * Return how well a text fits what the witnesses say.
 * @param {string} text
 * @param {number[]} groups
 * @param {Witness[]} witnesses
 */
function testimony(text, groups, witnesses) {
  const log = (/** @type {number} */ probability) => Math.log(Math.max(probability, NEARLY_NONE));
  return witnesses.reduce((total, { score, digits }, i) => {
    const of = [...text].filter((_, k) => groups[k] === i);
    if (of.length === 1 && isDigit(of[0])) return total + Math.max(log(score) + digits[Number(of[0])], LEAST);
    return of.length === 1 && of[0] !== MARK ? total : total + Math.max(log(1 - score), LEAST);
  }, 0);
}

/**
 * Return the text with one digit as its witness reads it, for each whose witness reads another, and all of them.
 * @param {string} text
 * @param {Frames} frames
 * @param {Witness[]} witnesses
 */
function corrected(text, frames, witnesses) {
  if (!witnesses.length) return [];
  const groups = groupsOf(align(frames.scores, text), frames, witnesses);
  const [changed, every] = [/** @type {string[]} */ ([]), [...text]];
  [...text].forEach((character, i) => {
    const isAlone = groups.indexOf(groups[i]) === groups.lastIndexOf(groups[i]);
    if (!isAlone || !(isDigit(character) || character === MARK)) return;
    const { digits } = witnesses[groups[i]];
    const most = Math.max(...digits);
    const digit = String(digits.indexOf(most));
    if (digit === character || Math.exp(most) <= SURE) return;
    changed.push(text.slice(0, i) + digit + text.slice(i + 1));
    every[i] = digit;
  });
  return changed.length > 1 ? [...changed, every.join('')] : changed;
}

/**
 * Return the probability of each character: of all texts that have it there, from the front or from the back.
 * @param {string} text
 * @param {Map<string, number>} probability
 */
function eachOf(text, probability) {
  return [...text].map((character, i) => {
    let total = 0;
    for (const [other, each] of probability) {
      if (other[i] === character || other.slice(i - text.length)[0] === character) total += each;
    }
    return Math.min(1, total);
  });
}

/** @param {string} character */
const isDigit = (character) => character >= '0' && character <= '9';
