/**
 * Read numbers of any length: picture → ink → layout → lines → the most likely texts. The steps are those of
 * inkdigits/reading, whose modules have the same names and give the reasons. A test compares both.
 */

import { quantile, sum } from '../numeric.js';
import { MARK } from '../preprocess/constants.js';
import { layOut } from '../preprocess/layout.js';
import { drawStrokes, spanOf } from '../preprocess/strokes.js';
import { CHARACTER, MOST_PIECES, PIECE, TALL_PART, THRESHOLD, WIDE } from './constants.js';
import { findPageInk } from './ink.js';
import { around, characters, group, tableOf } from './layout.js';
import { readLines } from './lines.js';
import { digitWitness, markWitness, score } from './scoring.js';
import { drawSeveral, witnessStrokes } from './strokes.js';
import { valueOf } from './values.js';

/** @typedef {import('../preprocess/components.js').Bounds} Bounds */
/** @typedef {import('../types.js').Box} Box */
/** @typedef {import('../types.js').Numeral} Numeral */
/** @typedef {import('../types.js').Reading} Reading */
/** @typedef {import('../preprocess/decode.js').Picture} Picture */
/** @typedef {import('../preprocess/strokes.js').Line} Line */
/** @typedef {import('./strokes.js').StrokeWitness} StrokeWitness */
/** @typedef {import('./ink.js').PageInk} PageInk */
/** @typedef {import('./layout.js').Block} Block */
/** @typedef {import('./scoring.js').Witness} Witness */

/**
 * @typedef {Pick<Single, 'probabilities' | 'digit_score' | 'is_digit'> & {reason: string | null}} Read
 *
 * @typedef {object} Networks
 * @property {import('../preprocess/ink.js').InkLogits} inkLogits
 * @property {import('./lines.js').LineLogits} lineLogits
 * @property {(images: Float32Array[]) => Promise<Read[]>} readDigits
 * @property {(picture: Picture) => Promise<Single | null>} readSingle what a picture is as a single digit; null: blank
 *
 * @typedef {object} Single what a picture is as a single digit; see {@link import('../types.js').Prediction}
 * @property {number} digit
 * @property {number} confidence
 * @property {number[]} probabilities
 * @property {boolean} is_digit
 * @property {number | null} digit_score
 * @property {Box} box
 * @property {string} polarity
 */

/**
 * Read the numbers in a drawing.
 * @param {readonly Line[]} lines the pen strokes
 * @param {Networks} networks
 * @param {number} alternatives other texts to return for each number
 * @returns {Promise<Reading>} with boxes in the unit of the strokes
 */
export async function readDrawing(lines, networks, alternatives) {
  const { picture, scale, left, top, strokes } = drawStrokes(lines);
  const reading = await readPicture(picture, networks, alternatives, strokes);
  const moved = (/** @type {Box} */ box) => ({
    left: left + box.left / scale,
    top: top + box.top / scale,
    right: left + box.right / scale,
    bottom: top + box.bottom / scale,
  });
  const numbers = reading.numbers.map((number) => {
    const digits = number.digits.map((digit) => ({ ...digit, box: moved(digit.box) }));
    return { ...number, box: moved(number.box), digits };
  });
  return { ...reading, numbers };
}

/**
 * Read the numbers in a picture.
 * @param {Picture} picture
 * @param {Networks} networks
 * @param {number} alternatives other texts to return for each number
 * @param {readonly Line[]} [strokes] pen strokes that the picture is drawn from, in pixels of it
 * @returns {Promise<Reading>}
 */
export async function readPicture(picture, networks, alternatives, strokes = []) {
  const single = await networks.readSingle(picture);
  const one = single?.is_digit ? ofOne(single, alternatives) : null;
  const isSeveral = one && (await drawSeveral(strokes, networks.readDigits));
  if (single && one && !isSeveral && !isWide(picture, single)) return one;
  const page = single && (await findPageInk(picture, networks.inkLogits));
  const isMany = page && hasMany(page, single);
  if (one && !isSeveral && !isMany) return one;
  if (!page) return one ?? readingOf([], [], null, null);
  const reading = await readPage(page, networks, alternatives, strokes);
  const isNumber = reading.is_number && sum(0, reading.numbers.length, (i) => reading.numbers[i].digits.length) > 1;
  return one && !isMany && !isNumber ? one : reading;
}

/**
 * Read the numbers in the ink of a page.
 * @param {PageInk} page
 * @param {Networks} networks
 * @param {number} alternatives
 * @param {readonly Line[]} strokes
 */
async function readPage(page, networks, alternatives, strokes) {
  const blocks = group(page.boxes, page.area);
  const witnesses = await testify(page, blocks, networks.readDigits);
  const frames = await readLines(
    blocks.map(({ box, parts }) => inkOf(page, box, parts)),
    networks.lineLogits,
  );
  const drawn = await strokesOf(page, blocks, strokes, networks.readDigits);
  const numbers = blocks.map((block, i) => {
    return numberOf(page, block, witnesses[i], score(frames[i], witnesses[i], drawn[i]), frames[i], alternatives);
  });
  /** @type {number[][]} */
  const lines = [];
  blocks.forEach(({ row }, i) => (lines[row] ??= []).push(i));
  return readingOf(numbers, lines, tableOf(blocks), page.polarity);
}

/**
 * Return whether a digit fills so much of a picture that it may be a page of digits that looks like one.
 * @param {Picture} picture
 * @param {Single} single
 */
const isWide = ({ width, height }, { box: { left, top, right, bottom } }) =>
  right - left >= WIDE * width || bottom - top >= WIDE * height;

/**
 * Return whether what looks like one digit has more large pieces than one.
 * @param {PageInk} page
 * @param {Single} single
 */
function hasMany({ boxes }, { digit_score }) {
  const heights = boxes.map(([, top, , bottom]) => bottom - top);
  const least = PIECE * Math.max(...heights);
  return heights.filter((height) => height > least).length > (digit_score === null ? 1 : MOST_PIECES);
}

/**
 * @param {Numeral[]} numbers
 * @param {number[][]} lines
 * @param {(number | null)[][] | null} table
 * @param {string | null} polarity
 * @returns {Reading}
 */
function readingOf(numbers, lines, table, polarity) {
  return {
    text: lines.map((line) => line.map((i) => numbers[i].text).join(' ')).join('\n'),
    confidence: numbers.length ? numbers.reduce((product, { confidence }) => product * confidence, 1) : 0,
    is_number: numbers.length > 0 && numbers.every((number) => number.is_number),
    numbers,
    lines,
    table,
    blank: !numbers.length,
    polarity,
  };
}

/**
 * Return the reading of a single digit: the same digit, confidence and box as the prediction's.
 * @param {Single} single
 * @param {number} alternatives
 */
function ofOne({ digit, confidence, probabilities, box, polarity }, alternatives) {
  const others = probabilities
    .map((probability, each) => ({ text: String(each), confidence: probability }))
    .filter(({ text }) => text !== String(digit))
    .sort((a, b) => b.confidence - a.confidence || Number(b.text) - Number(a.text));
  const read = { digit, confidence, box };
  const number = {
    text: String(digit),
    value: digit,
    confidence,
    is_number: true,
    box,
    digits: [{ char: String(digit), ...read, touching: false }],
    alternatives: others.slice(0, alternatives),
  };
  return readingOf([number], [[0]], null, polarity);
}

/**
 * Return the cover of some components within a box, without other ink.
 * @param {PageInk} page
 * @param {Bounds} box
 * @param {number[]} parts
 */
function inkOf({ cover, labels }, [left, top, right, bottom], parts) {
  const chosen = new Set(parts.map((part) => part + 1));
  const [width, height] = [right - left, bottom - top];
  const data = new Float32Array(width * height);
  for (let y = 0, k = 0; y < height; y += 1) {
    for (let i = (top + y) * cover.width + left, end = i + width; i < end; i += 1, k += 1) {
      if (chosen.has(labels[i])) data[k] = cover.data[i];
    }
  }
  return { width, height, data };
}

/**
 * Read each character group of each block by itself, in one network run.
 * @param {PageInk} page
 * @param {Block[]} blocks
 * @param {Networks['readDigits']} readDigits
 * @returns {Promise<Witness[][]>}
 */
async function testify(page, blocks, readDigits) {
  const witnesses = blocks.map(() => /** @type {Witness[]} */ ([]));
  const groups = blocks.flatMap(({ parts, box }, of) => {
    const [start, head, , foot] = box;
    const tall = foot - head;
    return characters(parts.map((part) => page.boxes[part])).flatMap((members) => {
      const some = members.map((i) => parts[i]);
      const bounds = around(some.map((part) => page.boxes[part]));
      const [left, top, right, bottom] = bounds;
      if (bottom - top < CHARACTER * tall) {
        const middle = ((top + bottom) / 2 - head) / tall;
        const [width, height] = [(right - left) / tall, (bottom - top) / tall];
        witnesses[of].push(markWitness(left - start, right - start, width, height, middle));
        return [];
      }
      return [{ of, left: left - start, right: right - start, image: layOut(inkOf(page, bounds, some)) }];
    });
  });
  const read = await readDigits(groups.map(({ image }) => image));
  groups.forEach(({ of, left, right }, i) => witnesses[of].push(digitWitness(left, right, read[i])));
  return witnesses;
}

/**
 * Read the strokes of each block by themselves; a stroke is of the block that its middle is in or nearest to.
 * @param {PageInk} page
 * @param {Block[]} blocks
 * @param {readonly Line[]} strokes
 * @param {Networks['readDigits']} readDigits
 * @returns {Promise<(StrokeWitness | null)[]>}
 */
async function strokesOf({ boxes, step }, blocks, strokes, readDigits) {
  /** @type {Line[][]} */
  const own = blocks.map(() => []);
  for (const stroke of strokes) {
    const [left, top, right, bottom] = spanOf([stroke]);
    const [x, y] = [(left + right) / 2, (top + bottom) / 2];
    const away = blocks.map(({ box }) => {
      const [x0, y0, x1, y1] = box.map((side) => side * step);
      return Math.hypot(Math.max(x0 - x, x - x1, 0), Math.max(y0 - y, y - y1, 0));
    });
    own[away.indexOf(Math.min(...away))].push(stroke);
  }
  return Promise.all(
    blocks.map(({ parts }, i) => {
      const spans = parts.map((part) => [boxes[part][1], boxes[part][3]]);
      const highest = Math.max(...spans.map(([top, bottom]) => bottom - top));
      const tall = spans.filter(([top, bottom]) => bottom - top >= TALL_PART * highest);
      const heights = Float64Array.from(tall, ([top, bottom]) => bottom - top).sort();
      const [top, bottom] = [Math.min(...tall.map(([y]) => y)), Math.max(...tall.map(([, y]) => y))];
      return witnessStrokes(own[i], quantile(heights, 0.5) * step, [top * step, bottom * step], readDigits);
    }),
  );
}

/**
 * @param {PageInk} page
 * @param {Block} block
 * @param {Witness[]} witnesses
 * @param {import('./scoring.js').Scored[]} scored
 * @param {import('./lines.js').Frames} frames
 * @param {number} alternatives
 * @returns {Numeral}
 */
function numberOf(page, block, witnesses, scored, frames, alternatives) {
  const nothing = { text: MARK, confidence: 0, frames: [0], groups: [0], each: [0] };
  const [best = nothing, ...others] = scored;
  const [left, top, right, bottom] = block.box;
  const digits = [...best.text].map((char, i) => ({
    char,
    digit: /\d/.test(char) ? Number(char) : null,
    confidence: best.each[i],
    box: boxOf(page, block, frames.boxes[best.frames[i]]),
    touching: best.groups.filter((of) => of === best.groups[i]).length > 1,
  }));
  const { text, confidence } = best;
  const hasDigits = !text.includes(MARK) && digits.some(({ digit }) => digit !== null);
  // A digit by itself is one if it is accepted as one.
  const alone = witnesses.filter(({ isMark }) => !isMark);
  const isAccepted = digits.length > 1 || alone.length !== 1 || alone[0].isDigit;
  const isNumber = confidence >= THRESHOLD && hasDigits && isAccepted;
  return {
    text,
    value: isNumber ? valueOf(text) : null,
    confidence,
    is_number: isNumber,
    box: boxOf(page, block, [0, 0, right - left, bottom - top]),
    digits,
    alternatives: others.slice(0, alternatives).map((other) => ({ text: other.text, confidence: other.confidence })),
  };
}

/**
 * Return a box within a block, in pixels of the picture.
 * @param {PageInk} page
 * @param {Block} block
 * @param {number[]} bounds
 * @returns {Box}
 */
function boxOf({ step }, { box: [x, y] }, [x0, y0, x1, y1]) {
  const [left, top, right, bottom] = [x + x0, y + y0, x + x1, y + y1].map((value) => value * step);
  return { left, top, right: Math.max(left, right), bottom: Math.max(top, bottom) };
}
