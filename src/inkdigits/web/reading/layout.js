/** Step 2, layout: group the components of a page's ink into lines, and lines into numbers. */

import { sum } from '../numeric.js';
import { weightedMedian } from '../preprocess/strokes.js';
import {
  FAR,
  GAP,
  HANGS,
  LEVEL,
  LONG,
  MARK_ABOVE,
  MARK_BELOW,
  MARK_FAR,
  MOST,
  SAME_COLUMN,
  SAME_ROW,
  TALL,
} from './constants.js';

/** @typedef {import('../preprocess/components.js').Bounds} Bounds */

/**
 * @typedef {object} Block the components of one number
 * @property {number[]} parts their indices
 * @property {Bounds} box of their ink
 * @property {number} row the line of the page that it is on
 */

/**
 * Group components into numbers, by row, and from left to right.
 * @param {Bounds[]} allBoxes of each component
 * @param {number[]} allAreas pixels of each
 * @returns {Block[]}
 */
export function group(allBoxes, allAreas) {
  const order = [...allAreas.keys()].sort((a, b) => allAreas[b] - allAreas[a]).slice(0, MOST);
  const [boxes, area] = [order.map((i) => allBoxes[i]), order.map((i) => allAreas[i])];
  const heights = boxes.map(([, top, , bottom]) => bottom - top);
  const common = weightedMedian(heights, area);
  const [least, most] = TALL.map((share) => share * common);
  const indices = [...boxes.keys()];
  const tall = indices.filter((i) => heights[i] >= least && heights[i] <= most);
  const marks = indices.filter((i) => heights[i] < least);
  const whole = linesOf(tall, boxes, common);
  const hanging = hangingOf(whole, boxes, common);
  const lines = whole.filter(([first]) => !hanging.includes(first));
  const rows = rowsOf(withMarks(lines, boxes, [...marks, ...hanging], common), boxes);
  const blocks = rows.flatMap((lines, row) =>
    lines.flatMap((line) =>
      numbersOf(line, boxes, common).map((parts) => {
        return { parts: parts.map((i) => order[i]), box: around(parts.map((i) => boxes[i])), row };
      }),
    ),
  );
  return blocks.sort((a, b) => a.row - b.row || a.box[0] - b.box[0]);
}

/**
 * Return the bounds of boxes.
 * @param {Bounds[]} boxes
 * @returns {Bounds}
 */
export function around(boxes) {
  const of = (/** @type {number} */ side) => boxes.map((box) => box[side]);
  return [Math.min(...of(0)), Math.min(...of(1)), Math.max(...of(2)), Math.max(...of(3))];
}

/**
 * Group the components of a number that stand over each other: one character, or several that touch.
 * @param {Bounds[]} boxes
 * @returns {number[][]}
 */
export const characters = (boxes) =>
  joined(boxes.length, (i, j) => overlap(sideways(boxes[i]), sideways(boxes[j])) >= SAME_COLUMN);

/**
 * Arrange numbers in columns.
 * @param {Block[]} blocks
 * @returns {(number | null)[][] | null} rows of indices, null where a row has none; null if they are no table
 */
export function tableOf(blocks) {
  const rows = [...new Set(blocks.map(({ row }) => row))].sort((a, b) => a - b);
  if (rows.length < 2 || blocks.length <= rows.length) return null;
  const spans = blocks.map(({ box }) => sideways(box));
  const columns = joined(blocks.length, (i, j) => overlap(spans[i], spans[j]) > 0);
  inOrder(columns, spans);
  const table = rows.map(() => /** @type {(number | null)[]} */ (columns.map(() => null)));
  for (const [column, members] of columns.entries()) {
    for (const i of members) {
      const row = table[rows.indexOf(blocks[i].row)];
      if (row[column] !== null) return null;
      row[column] = i;
    }
  }
  return table;
}

/** @typedef {[low: number, high: number]} Span */

/**
 * @param {Bounds} box
 * @returns {Span}
 */
const sideways = ([left, , right]) => [left, right];

/**
 * @param {Bounds} box
 * @returns {Span}
 */
const upright = ([, top, , bottom]) => [top, bottom];

/**
 * Return how much two intervals overlap, as a share of the shorter; negative if they are apart.
 * @param {Span} a
 * @param {Span} b
 */
const overlap = (a, b) =>
  (Math.min(a[1], b[1]) - Math.max(a[0], b[0])) / Math.max(Math.min(a[1] - a[0], b[1] - b[0]), 1);

/**
 * Return the connected groups of a symmetric relation between n things, by their members.
 * @param {number} n
 * @param {(i: number, j: number) => boolean} isNear
 * @returns {number[][]}
 */
function joined(n, isNear) {
  const label = Array.from({ length: n }, (_, i) => i);
  const rootOf = (/** @type {number} */ i) => {
    while (label[i] !== i) i = label[i] = label[label[i]];
    return i;
  };
  for (let i = 1; i < n; i += 1) {
    for (let j = 0; j < i; j += 1) {
      const [a, b] = [rootOf(i), rootOf(j)];
      if (a !== b && isNear(i, j)) label[Math.max(a, b)] = Math.min(a, b);
    }
  }
  /** @type {Map<number, number[]>} */
  const groups = new Map();
  for (let i = 0; i < n; i += 1) {
    const root = rootOf(i);
    groups.set(root, [...(groups.get(root) ?? []), i]);
  }
  return [...groups.values()];
}

/**
 * Sort groups by the mean place of their members.
 * @param {number[][]} groups
 * @param {Span[]} spans
 */
function inOrder(groups, spans) {
  const place = (/** @type {number[]} */ members) =>
    sum(0, members.length, (i) => spans[members[i]][0] + spans[members[i]][1]) / members.length;
  groups.sort((a, b) => place(a) - place(b));
}

/**
 * @param {number[]} tall
 * @param {Bounds[]} boxes
 * @param {number} common height of a digit
 */
function linesOf(tall, boxes, common) {
  const isNear = (/** @type {Bounds} */ a, /** @type {Bounds} */ b) =>
    overlap(upright(a), upright(b)) >= LEVEL && Math.max(a[0], b[0]) - Math.min(a[2], b[2]) <= FAR * common;
  const lines = joined(tall.length, (i, j) => isNear(boxes[tall[i]], boxes[tall[j]]));
  return lines.map((members) => members.map((i) => tall[i]));
}

/**
 * Return long commas, each of which looks like a line of its own as it hangs below that of its digits.
 * @param {number[][]} lines
 * @param {Bounds[]} boxes
 * @param {number} common height of a digit
 */
function hangingOf(lines, boxes, common) {
  const alone = lines.filter((line) => line.length === 1).map(([mark]) => mark);
  return alone.filter((mark) => {
    const [left, top, right, bottom] = boxes[mark];
    if (bottom - top >= LONG * common) return false;
    return lines.flat().some((other) => {
      const [x0, y0, x1, y1] = boxes[other];
      const starts = top > (y0 + y1) / 2 && top <= y1 + HANGS * common;
      return other !== mark && starts && bottom > y1 && Math.max(x0 - right, left - x1) <= GAP * common;
    });
  });
}

/**
 * Give each mark to the line of the nearest digit, if it is on a level with it.
 * @param {number[][]} lines
 * @param {Bounds[]} boxes
 * @param {number[]} marks
 * @param {number} common height of a digit
 */
function withMarks(lines, boxes, marks, common) {
  const given = lines.map((line) => [...line]);
  for (const mark of marks) {
    const [left, top, right, bottom] = boxes[mark];
    const middle = Math.min((top + bottom) / 2, top + (TALL[0] / 2) * common); // of a long comma: where it starts
    let [nearest, best] = [-1, MARK_FAR * common];
    lines.forEach((line, i) => {
      for (const part of line) {
        const [x0, y0, x1, y1] = boxes[part];
        const isLevel = middle > y0 - MARK_ABOVE * common && middle < y1 + MARK_BELOW * common;
        const gap = Math.max(x0 - right, left - x1, 0);
        if (isLevel && gap <= best) [nearest, best] = [i, gap];
      }
    });
    if (nearest >= 0) given[nearest].push(mark);
  }
  return given;
}

/**
 * Put lines at one height on one row, from top to bottom.
 * @param {number[][]} lines
 * @param {Bounds[]} boxes
 */
function rowsOf(lines, boxes) {
  const spans = lines.map((line) => upright(around(line.map((i) => boxes[i]))));
  const rows = joined(lines.length, (i, j) => overlap(spans[i], spans[j]) >= SAME_ROW);
  inOrder(rows, spans);
  return rows.map((members) => members.map((i) => lines[i]));
}

/**
 * @param {number[]} line
 * @param {Bounds[]} boxes
 * @param {number} common height of a digit
 */
function numbersOf(line, boxes, common) {
  /** @type {number[][]} */
  const numbers = [];
  let reached = -Infinity;
  for (const part of [...line].sort((a, b) => boxes[a][0] - boxes[b][0])) {
    const [left, , right] = boxes[part];
    if (left - reached > GAP * common) numbers.push([]);
    numbers[numbers.length - 1].push(part);
    reached = Math.max(reached, right);
  }
  return numbers;
}
