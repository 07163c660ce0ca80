/** Numbers as shown: their text, how sure, what else they may be, and the boxes of their digits over the ink. */

import { button, copyText, element, find } from './controls.js';
import { PAD, moved } from './paint.js';
import { rowsOf } from './result.js';
import { text } from './strings.js';
import { SIDE } from './strokes.js';

/** @typedef {import('./types.js').Numeral} Numeral */
/** @typedef {import('./types.js').Reading} Reading */

/**
 * @typedef {import('./types.js').Box & {char: string, isUnsure: boolean}} Mark a digit that was read, in pad units
 */

const SURE = 0.9; // probability of a digit, from which it is not marked as uncertain
const WORTH_NAMING = 0.001; // probability from which another text is named
const MOST_NAMED = 4; // other texts
const GAP = 2; // characters between columns
const [PADDING, LABEL_GAP] = [3, 4]; // CSS pixels around the ink in a box, and between a box and its label
const DASHES = [4, 3]; // CSS pixels

/** Shows numbers in the place of a digit. */
export class NumbersView {
  #panel = find('numbers-panel', HTMLElement);
  #frame = find('numbers-frame', HTMLElement);
  #numbers = find('numbers', HTMLElement);
  #confidence = find('numbers-confidence', HTMLElement);
  #alternatives = find('alternatives', HTMLElement);
  #copy = button('copy-numbers');
  #copied = '';

  constructor() {
    this.#copy.addEventListener('click', () => {
      copyText(this.#copy, this.#copy.dataset.name ?? '', this.#copied, this.#numbers);
    });
  }

  /** @param {Reading | null} reading null: a digit is shown */
  show(reading) {
    this.#panel.hidden = !reading;
    if (!reading) return;
    const rows = rowsOf(reading);
    const columns = Array.from({ length: Math.max(...rows.map((row) => row.length)) }, (_, column) =>
      Math.max(...rows.map((row) => row[column]?.text.length ?? 0)),
    );
    const width = columns.reduce((total, each) => total + each + GAP, -GAP);
    const { style } = this.#numbers;
    this.#numbers.classList.toggle('single', reading.numbers.length === 1);
    style.setProperty('--rows', String(rows.length));
    style.setProperty('--columns', String(columns.length));
    style.setProperty('--characters', String(width));
    // New elements each time: those that stay would count as layout shifts.
    this.#numbers.replaceChildren(
      ...rows.flatMap((row, i) => [
        ...(i ? ['\n'] : []),
        ...columns.flatMap((_, column) => [...(column ? [' '] : []), cell(row[column])]),
      ]),
    );
    if (this.#frame.scrollHeight > this.#frame.clientHeight) this.#frame.tabIndex = 0;
    else this.#frame.removeAttribute('tabindex');
    const words = reading.is_number ? text.certainty(reading.confidence) : text.unclear;
    const percent = reading.is_number ? [' ', span('percent', text.percent(reading.confidence))] : [];
    this.#confidence.replaceChildren(span('words', words), ...percent);
    this.#alternatives.replaceChildren(...alternatives(reading));
    const name = reading.numbers.length > 1 ? text.copyTable : text.copyNumber;
    const copied = rows.map((row) => row.map((number) => number?.text ?? '').join('\t')).join('\n');
    if (copied === this.#copied) return; // the button may say that it was copied
    this.#copied = copied;
    this.#copy.dataset.name = this.#copy.textContent = name;
  }
}

/**
 * Where each digit of the numbers is on the pad. All marks of a number are as high as it is, so that none cuts its ink.
 * @param {Reading} reading
 * @param {import('./paint.js').Place} place of what was read
 * @returns {Mark[]}
 */
export function marksOf({ numbers }, place) {
  return numbers.flatMap(({ box: { top, bottom }, digits }) =>
    digits.map(({ char, confidence, box }) => ({
      char,
      isUnsure: isUnsure(confidence),
      ...moved({ ...box, top, bottom }, place, PAD),
    })),
  );
}

/**
 * Draw a thin box around each digit, with what it was read as above it.
 * @param {CanvasRenderingContext2D} context
 * @param {Mark[]} marks
 * @param {CSSStyleDeclaration} style of the canvas: its font, and the colors --mark and --unsure
 */
export function paintMarks(context, marks, style) {
  const { canvas } = context;
  const [density, scale] = [canvas.width / canvas.clientWidth, canvas.clientWidth / SIDE];
  const [plain, unsure] = ['--mark', '--unsure'].map((name) => style.getPropertyValue(name));
  const size = parseFloat(style.fontSize);
  context.setTransform(density, 0, 0, density, 0, 0); // CSS pixels
  context.font = `${style.fontSize} ${style.fontFamily}`;
  context.textAlign = 'center';
  context.lineWidth = 1;
  for (const { char, isUnsure, ...box } of marks) {
    const [left, top, right, bottom] = [box.left, box.top, box.right, box.bottom].map((side) => side * scale);
    context.strokeStyle = context.fillStyle = isUnsure ? unsure : plain;
    context.setLineDash(isUnsure ? DASHES : []);
    context.beginPath();
    context.roundRect(left - PADDING, top - PADDING, right - left + 2 * PADDING, bottom - top + 2 * PADDING, PADDING);
    context.stroke();
    const above = top - PADDING - LABEL_GAP;
    context.textBaseline = above < size ? 'top' : 'alphabetic';
    context.fillText(char, (left + right) / 2, above < size ? bottom + PADDING + LABEL_GAP : above);
  }
  context.setLineDash([]);
}

/** @param {number} confidence */
const isUnsure = (confidence) => confidence < SURE;

/** @param {Numeral | null | undefined} number */
function cell(number) {
  const item = span('cell', '');
  item.append(
    ...(number?.digits ?? []).map(({ char, confidence }) => span(isUnsure(confidence) ? 'unsure' : '', char)),
  );
  return item;
}

/** @param {Reading} reading */
function alternatives({ numbers, is_number }) {
  const others = numbers
    .flatMap((number) => number.alternatives.map((other) => ({ ...other, of: number.text })))
    .filter(({ confidence }) => confidence >= WORTH_NAMING)
    .sort((a, b) => b.confidence - a.confidence)
    .slice(0, MOST_NAMED);
  if (!others.length) return [element('li', { textContent: text.noOtherNumber })];
  return others.map((other) => {
    const item = element('li');
    const words = numbers.length > 1 ? text.instead(other.of, other.text) : other.text;
    item.append(span('other', words), ...(is_number ? [' ', span('share', text.percent(other.confidence))] : []));
    return item;
  });
}

/**
 * @param {string} className
 * @param {string} textContent
 */
const span = (className, textContent) => element('span', { className, textContent });
