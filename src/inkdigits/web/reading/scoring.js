/**
 * Step 5, scoring: choose the text of a number. The line network proposes texts; the network for single digits, which
 * reads each character that stands alone, is a witness. For reasons, see inkdigits/reading/scoring.py.
 */

import { CHARACTERS } from '../preprocess/constants.js';
import {
  CALIBRATION,
  COMMA,
  COMMA_SHAPE,
  DASH,
  DASH_MIDDLE,
  LEAST,
  LEAST_DIGIT,
  NEARLY_NONE,
  NO_MARK,
  SHORTEST_DASH,
  STROKES,
  SURE,
  SUREST,
} from './constants.js';
import { align, logProbability, search } from './search.js';

/** @typedef {import('./lines.js').Frames} Frames */

/**
 * @typedef {object} Witness what is known of the ink of one character group by itself
 * @property {number} left of the ink, in pixels of the number's ink
 * @property {number} right
 * @property {number[]} scores log-probability of each of CHARACTERS
 * @property {number} other log-probability that it is none of them, or several
 * @property {number} one log-probability that it is one digit, whichever
 * @property {boolean} isDigit whether it is accepted as a digit
 * @property {boolean} isMark whether it is so low that it is a point, comma or dash
 *
 * @typedef {object} Scored a text of a number
 * @property {string} text
 * @property {number} confidence calibrated probability that it is right
 * @property {number[]} frames the frame of each character
 * @property {number[]} groups the group of each character; characters of one group touch
 * @property {number[]} each probability of each character
 */

const log = (/** @type {number} */ probability) => Math.log(Math.max(probability, NEARLY_NONE));

/**
 * Return what the network for single digits says.
 * @param {number} left
 * @param {number} right
 * @param {{probabilities: number[], digit_score: number | null, is_digit: boolean}} read
 * @returns {Witness}
 */
export function digitWitness(left, right, { probabilities, digit_score, is_digit }) {
  const certainty = digit_score ?? 1;
  const other = Math.max(log(1 - certainty), LEAST);
  const digits = probabilities.map((each) => Math.max(log(each) + log(certainty), LEAST));
  const scores = [...CHARACTERS].map((_, i) => digits[i] ?? other);
  return { left, right, scores, other, one: Math.max(log(certainty), LEAST), isDigit: is_digit, isMark: false };
}

/**
 * Return what the shape and the place of low ink say.
 * @param {number} left of the ink, in pixels of the number's ink
 * @param {number} right
 * @param {number} width in heights of the number
 * @param {number} height
 * @param {number} middle how far down it is, 0 to 1
 * @returns {Witness}
 */
export function markWitness(left, right, width, height, middle) {
  const isInside = DASH_MIDDLE[0] < middle && middle < DASH_MIDDLE[1];
  const isDash = width > DASH * height && isInside && width > SHORTEST_DASH;
  const isComma = height > COMMA || height > COMMA_SHAPE * width;
  const fits = isDash ? '-' : isComma ? ',' : '.';
  const scores = [...CHARACTERS].map((each) =>
    '.,-'.includes(each) ? Math.log(each === fits ? 0.75 : 0.12) : NO_MARK,
  );
  return { left, right, scores, other: NO_MARK, one: 0, isDigit: false, isMark: true };
}

/**
 * Return the texts that a number may be, the most likely first; none, if no text is likely enough.
 * @param {Frames} frames
 * @param {Witness[]} witnesses
 * @param {import('./strokes.js').StrokeWitness | null} [strokes] what the pen's strokes say, if the number was drawn
 * @returns {Scored[]}
 */
export function score(frames, witnesses, strokes = null) {
  const proposed = new Map(search(frames.scores));
  if (!proposed.size) return [];
  const [best] = proposed.keys();
  for (const text of [...corrected(best, frames, witnesses), ...(strokes ? [strokes.bestText()] : [])]) {
    if (text && !proposed.has(text)) proposed.set(text, logProbability(frames.scores, text));
  }
  const scored = [...proposed].map(([text, likely]) => {
    const at = align(frames.scores, text);
    const groups = groupsOf(at, frames, witnesses);
    const drawn = strokes ? STROKES * strokes.logProbability(text) : 0;
    return { text, frames: at, groups, total: likely + testimony(text, groups, witnesses) + drawn };
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
 * Return how well a text fits what the witnesses say; those of marks count in full.
 * @param {string} text
 * @param {number[]} groups
 * @param {Witness[]} witnesses
 */
function testimony(text, groups, witnesses) {
  return witnesses.reduce((total, { scores, other, one, isMark }, i) => {
    const of = [...text].filter((_, k) => groups[k] === i);
    const said = of.length === 1 ? scores[CHARACTERS.indexOf(of[0])] : other;
    if (isMark) return total + said;
    if (of.length !== 1 || !/\d/.test(of[0])) return total + CALIBRATION.witness * said;
    return total + CALIBRATION.witness * one + CALIBRATION.digit * Math.max(said - one, LEAST_DIGIT);
  }, 0);
}

/**
 * Return the text with one character as its witness reads it, for each that reads another, and with all of them.
 * @param {string} text
 * @param {Frames} frames
 * @param {Witness[]} witnesses
 */
function corrected(text, frames, witnesses) {
  const at = align(frames.scores, text);
  const groups = groupsOf(at, frames, witnesses);
  const middles = at.map((frame) => (frames.boxes[frame][0] + frames.boxes[frame][2]) / 2);
  /** @type {{start: number, end: number, character: string}[]} */
  const changes = [];
  witnesses.forEach(({ left, right, scores, isMark }, i) => {
    const of = [...text].map((_, k) => k).filter((k) => groups[k] === i);
    const most = Math.max(...scores);
    const character = CHARACTERS[scores.indexOf(most)];
    if (!of.length && isMark) {
      const start = middles.filter((middle) => middle < (left + right) / 2).length;
      changes.push({ start, end: start, character });
    } else if (of.length === 1 && text[of[0]] !== character && (isMark || most > SURE)) {
      changes.push({ start: of[0], end: of[0] + 1, character });
    }
  });
  const changed = (/** @type {string} */ all, /** @type {typeof changes[0]} */ { start, end, character }) =>
    all.slice(0, start) + character + all.slice(end);
  const each = changes.map((change) => changed(text, change));
  const inOrder = [...changes].sort(
    (a, b) => b.start - a.start || b.end - a.end || (b.character > a.character ? 1 : -1),
  );
  return each.length > 1 ? [...each, inOrder.reduce(changed, text)] : each;
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
