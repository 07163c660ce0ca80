/**
 * The pen strokes of a drawing as a witness: which of them make a character, so that overlapping digits come uncut. For
 * reasons, see inkdigits/reading/strokes.py.
 */

import { CHARACTERS, CLASSES, MARK } from '../preprocess/constants.js';
import { layOut } from '../preprocess/layout.js';
import { levelOf, painted, spanOf } from '../preprocess/strokes.js';
import {
  AS_HIGH,
  CLOSE,
  DASH_MIDDLE,
  FLAT,
  GLYPH_PEN,
  GLYPH_SIDE,
  HANGING,
  LEAST,
  LONG,
  MARKED,
  MOST_STROKES,
  NARROW,
  NOT_ONE,
  OVERLAPPING,
  POINT_MIDDLE,
  SAME_PLACE,
  SHORTEST_DASH,
  SMALL,
  SURE,
  SURE_DIGITS,
  TOGETHER,
  WIDEST,
} from './constants.js';
import { digitWitness } from './scoring.js';

/** @typedef {import('../preprocess/strokes.js').Line} Line */
/** @typedef {import('../preprocess/strokes.js').Span} Span */

const FULL_SCALE = 255;

/** How well each group of neighboring strokes fits each character. */
export class StrokeWitness {
  /**
   * @param {number[][][]} scores by first stroke, from left to right, and number of more strokes: log-probability of
   *   each of CHARACTERS; LEAST where they cannot be a character, NOT_ONE where
   *   they are surely several digits
   */
  constructor(scores) {
    this.scores = scores;
  }

  /**
   * Return how well a text fits the strokes.
   * @param {string} text
   */
  logProbability(text) {
    const n = this.scores.length;
    let best = Array.from({ length: n + 1 }, (_, i) => (i ? -Infinity : 0));
    for (const character of text) {
      const column = CHARACTERS.indexOf(character);
      const after = best.map(() => -Infinity);
      this.scores.forEach((groups, start) =>
        groups.slice(0, n - start).forEach((scores, k) => {
          after[start + k + 1] = Math.max(after[start + k + 1], best[start] + scores[column]);
        }),
      );
      best = after;
    }
    return best[n] > -Infinity ? best[n] : LEAST * Math.max(text.length, n);
  }

  /** Return the text that fits best. */
  bestText() {
    const n = this.scores.length;
    const best = Array.from({ length: n + 1 }, (_, i) => ({ value: i ? -Infinity : 0, text: '' }));
    this.scores.forEach((groups, start) =>
      groups.slice(0, n - start).forEach((scores, k) => {
        const top = Math.max(...scores);
        const value = best[start].value + top;
        if (value <= best[start + k + 1].value) return;
        best[start + k + 1] = { value, text: best[start].text + CHARACTERS[scores.indexOf(top)] };
      }),
    );
    return best[n].text;
  }
}

/**
 * Read each group of neighboring strokes by itself, in one network run.
 * @param {readonly Line[]} strokes of one number
 * @param {number} height of a common digit
 * @param {[top: number, bottom: number]} line of the digits, in the strokes' unit
 * @param {import('./index.js').Networks['readDigits']} readDigits
 * @returns {Promise<StrokeWitness | null>} null for too many strokes, or none
 */
export async function witnessStrokes(strokes, height, line, readDigits) {
  if (!strokes.length || strokes.length > MOST_STROKES) return null;
  const middle = (/** @type {Line} */ stroke) => {
    const [left, , right] = spanOf([stroke]);
    return left + right;
  };
  const middles = strokes.map(middle);
  const ordered = [...strokes.keys()].sort((a, b) => middles[a] - middles[b]).map((i) => strokes[i]);
  const scores = ordered.map(() => Array.from({ length: TOGETHER }, () => none()));
  const heights = ordered.map(() => Array(TOGETHER).fill(0));
  const sides = ordered.map(() => Array.from({ length: TOGETHER }, () => /** @type {[number, number]} */ ([0, 0])));
  const groups = ordered.flatMap((_, start) => {
    const found = [];
    for (let k = 0; k < Math.min(TOGETHER, ordered.length - start); k += 1) {
      const some = ordered.slice(start, start + k + 1);
      const span = spanOf(some);
      if (span[2] - span[0] > WIDEST * height) break;
      heights[start][k] = span[3] - span[1];
      sides[start][k] = [span[0], span[2]];
      const hangs = span[1] > line[0] + HANGING * height && span[3] - span[1] < LONG * height;
      if (span[3] - span[1] < SMALL * height || hangs) scores[start][k] = markScores(span, height, line);
      else found.push({ start, k, image: layOut(drawn(some, span)) });
    }
    return found;
  });
  const read = await readDigits(groups.map(({ image }) => image));
  groups.forEach(({ start, k }, i) => {
    const { scores: alone, other } = digitWitness(0, 0, read[i]);
    const { probabilities, reason } = read[i];
    // Several digits are better read one by one than as one sign.
    const isSign = (/** @type {number} */ at) => CHARACTERS[at] === MARK && reason !== 'several digits';
    scores[start][k] = none().map((least, at) => (at < probabilities.length ? alone[at] : isSign(at) ? other : least));
  });
  const are = areSeveral(scores, heights, sides);
  const isLikeOne = (/** @type {number[]} */ each) => Math.max(...each.slice(0, CLASSES)) > SURE;
  const several = are.map((row, start) => row.map((is, k) => is && isLikeOne(scores[start][k])));
  are.forEach((row, start) => row.forEach((is, k) => is && (scores[start][k][CHARACTERS.indexOf(MARK)] = LEAST)));
  several.forEach((row, first) =>
    row.forEach((is, last) => {
      for (let i = 0; is && i <= last; i += 1) {
        for (let k = 0; k <= last - i; k += 1) {
          scores[first + i][k] = scores[first + i][k].map((score) => Math.max(OVERLAPPING * score, NOT_ONE));
        }
      }
    }),
  );
  return new StrokeWitness(
    scores.map((row, start) => row.map((each, k) => (several[start][k] ? each.map(() => NOT_ONE) : each))),
  );
}

/**
 * Return whether strokes that look like one digit are surely several, which overlap.
 * @param {readonly Line[]} strokes
 * @param {import('./index.js').Networks['readDigits']} readDigits
 */
export async function drawSeveral(strokes, readDigits) {
  const n = strokes.length;
  if (n < 2 || n > TOGETHER) return false;
  const [, top, , bottom] = spanOf(strokes);
  const found = await witnessStrokes(strokes, bottom - top, [top, bottom], readDigits);
  return found !== null && found.scores[0][n - 1].every((score) => score === NOT_ONE) && /^\d+$/.test(found.bestText());
}

/**
 * Return which groups of strokes are surely several digits: each is as high as all, and in a place of its own.
 * @param {number[][][]} scores
 * @param {number[][]} heights
 * @param {[left: number, right: number][][]} sides
 */
function areSeveral(scores, heights, sides) {
  const digits = scores.map((groups) => groups.map((each) => Math.max(...each.slice(0, CLASSES))));
  return heights.map((row, start) =>
    row.map((height, k) => {
      if (!k || start + k >= scores.length) return false;
      /** @type {{ first: number, last: number, value: number }[]} */
      const best = [];
      for (let last = 0; last <= k; last += 1) {
        for (let first = 0; first <= last; first += 1) {
          const more = last - first;
          if (more === k || heights[start + first][more] < AS_HIGH * height) continue;
          const part = sides[start + first][more];
          const before = best.filter(
            (each) =>
              each.last === first - 1 &&
              !isSamePlace(sides[start + each.first][each.last - each.first], part, height),
          );
          if (first && !before.length) continue;
          const sum = before.length ? Math.max(...before.map(({ value }) => value)) : 0;
          best.push({ first, last, value: sum + digits[start + first][more] });
        }
      }
      return best.some(({ last, value }) => last === k && value > SURE_DIGITS);
    }),
  );
}

/**
 * Return whether two parts are a digit and what goes over it again.
 * @param {[left: number, right: number]} one
 * @param {[left: number, right: number]} other
 * @param {number} height
 */
function isSamePlace(one, other, height) {
  const widest = Math.max(one[1] - one[0], other[1] - other[0]);
  const shared = Math.min(one[1], other[1]) - Math.max(one[0], other[0]);
  const isClose = Math.abs(one[0] + one[1] - other[0] - other[1]) / 2 < CLOSE * height;
  return shared > SAME_PLACE * widest || (isClose && widest < NARROW * height);
}

const none = () => Array.from(CHARACTERS, () => LEAST);

/**
 * Return the log-probabilities of small strokes: a point or comma at the base line, or a dash in the middle.
 * @param {Span} span
 * @param {number} height of a common digit
 * @param {[top: number, bottom: number]} line
 */
function markScores([left, top, right, bottom], height, line) {
  const middle = ((top + bottom) / 2 - line[0]) / Math.max(line[1] - line[0], 1e-9);
  const [width, isInside] = [right - left, DASH_MIDDLE[0] < middle && middle < DASH_MIDDLE[1]];
  const isDash = bottom - top < FLAT * width && isInside && width > SHORTEST_DASH * height;
  const fits = isDash ? '-' : middle > POINT_MIDDLE ? '.,' : MARK;
  return Array.from(CHARACTERS, (character) => (fits.includes(character) ? Math.log(MARKED) : LEAST));
}

/**
 * Draw strokes so that their longer side fits a character: their cover, cropped to the ink.
 * @param {readonly Line[]} strokes
 * @param {Span} span
 * @returns {import('../numeric.js').Plane}
 */
function drawn(strokes, [left, top, right, bottom]) {
  const scale = (GLYPH_SIDE - GLYPH_PEN) / Math.max(right - left, bottom - top, 1e-9);
  const [width, height] = [right - left, bottom - top].map((side) => Math.max(1, Math.ceil(scale * side + GLYPH_PEN)));
  const half = GLYPH_PEN / 2;
  const placed = strokes.map((stroke) => stroke.map(([x, y]) => [scale * (x - left) + half, scale * (y - top) + half]));
  const cover = painted(placed, width, height, GLYPH_PEN);
  return { width, height, data: Float32Array.from(cover, (parts) => levelOf(parts) / FULL_SCALE) };
}
