/**
 * Step 4, search: the most likely texts of a line, and the alignment of a text to its frames. For sources, see
 * inkdigits/reading/search.py.
 */

import { CHARACTERS } from '../preprocess/constants.js';
import { BEAM, FLOOR, NEVER } from './constants.js';

/**
 * Find the most likely texts.
 * @param {number[][]} scores log-probabilities of each frame
 * @returns {[string, number][]} texts and their log-probabilities, the most likely first
 */
export function search(scores) {
  /** @type {Map<string, [none: number, last: number]>} log-probabilities of how each text so far ends */
  let beam = new Map([['', [0, NEVER]]]);
  for (const row of scores) {
    const candidates = [...CHARACTERS].flatMap((character, i) => (row[1 + i] > FLOOR ? [{ character, i }] : []));
    /** @type {typeof beam} */
    const found = new Map();
    for (const [text, [none, last]] of beam) {
      const both = add(none, last);
      const [n, c] = found.get(text) ?? [NEVER, NEVER];
      const stays = text ? add(c, last + row[1 + CHARACTERS.indexOf(text[text.length - 1])]) : c;
      found.set(text, [add(n, both + row[0]), stays]);
      for (const { character, i } of candidates) {
        const longer = text + character;
        const [before, ends] = found.get(longer) ?? [NEVER, NEVER];
        found.set(longer, [before, add(ends, (text.endsWith(character) ? none : both) + row[1 + i])]);
      }
    }
    const best = (/** @type {[string, [number, number]]} */ [, ends]) => add(...ends);
    beam = found.size <= BEAM ? found : new Map([...found].sort((a, b) => best(b) - best(a)).slice(0, BEAM));
  }
  const texts = [...beam].map(([text, ends]) => /** @type {[string, number]} */ ([text, add(...ends)]));
  return texts.filter(([text]) => text).sort((a, b) => b[1] - a[1]);
}

/**
 * Add probabilities that are given by their logarithms.
 * @param {number} a
 * @param {number} b
 */
function add(a, b) {
  const [more, less] = a < b ? [b, a] : [a, b];
  return less > more - 40 ? more + Math.log1p(Math.exp(less - more)) : more;
}

/**
 * Return the column of scores of each state, with none around characters, and which states may be skipped to.
 * @param {string} text
 */
function statesOf(text) {
  const columns = [0, ...[...text].flatMap((character) => [1 + CHARACTERS.indexOf(character), 0])];
  return columns.map((column, i) => ({ column, skips: i % 2 === 1 && i >= 3 && column !== columns[i - 2] }));
}

/**
 * Return the log-probability of a text, of all its alignments.
 * @param {number[][]} scores
 * @param {string} text
 */
export function logProbability([first, ...rest], text) {
  const states = statesOf(text);
  let reached = states.map(({ column }, i) => (i < 2 ? first[column] : NEVER));
  for (const row of rest) {
    reached = states.map(({ column, skips }, i) => {
      const stay = add(reached[i], reached[i - 1] ?? NEVER);
      return (skips ? add(stay, reached[i - 2]) : stay) + row[column];
    });
  }
  return add(reached[reached.length - 1], reached[reached.length - 2]);
}

/**
 * Return the frame of each character of a text where it is most certain, along the best alignment.
 * @param {number[][]} scores
 * @param {string} text
 * @returns {number[]}
 */
export function align(scores, text) {
  const states = statesOf(text);
  let reached = states.map(({ column }, i) => (i < 2 ? scores[0][column] : NEVER));
  const came = scores.slice(1).map((row) => {
    const ways = states.map(({ skips }, i) => [reached[i], reached[i - 1] ?? NEVER, skips ? reached[i - 2] : NEVER]);
    const best = ways.map((way) => way.indexOf(Math.max(...way)));
    reached = states.map(({ column }, i) => ways[i][best[i]] + row[column]);
    return best;
  });
  const last = states.length - 1;
  let state = reached[last - 1] > reached[last] ? last - 1 : last;
  /** @type {number[]} */
  const frames = [];
  for (let t = scores.length - 1; t >= 0; t -= 1) {
    const i = Math.trunc(state / 2);
    const { column } = states[state];
    if (state % 2 && (frames[i] === undefined || scores[t][column] > scores[frames[i]][column])) frames[i] = t;
    if (t) state -= came[t - 1][state];
  }
  return Array.from(text, (_, i) => frames[i] ?? 0);
}
