/** What the right answer is: ten digits to tap, or a number to edit, in the place of the answer. */

import { button, element, find } from '../controls.js';
import { text } from '../strings.js';
import { SIDE } from '../strokes.js';

/** @typedef {import('../numbers.js').Mark} Mark */

const NONE_KEYS = ['n', '-']; // that say that it is no digit
const DIGIT = /^\d$/;

/** Asks for one label at a time. */
export class Keypad {
  #panel = find('keypad', HTMLElement);
  #marks = find('mark-buttons', HTMLElement);
  #sheet = find('sheet', HTMLElement);
  /** @type {((label: string) => void) | null} */
  #choose = null;

  constructor() {
    document.addEventListener('keydown', (event) => this.#key(event));
  }

  get isOpen() {
    return this.#choose !== null;
  }

  /**
   * Ask for a digit.
   * @param {(label: string) => void} choose called with "0" to "9", or "" for what is no digit
   */
  askDigit(choose) {
    const keys = Array.from({ length: 10 }, (_, digit) => this.#button(String(digit), () => this.#take(String(digit))));
    this.#open('digits', choose, [
      ...keys,
      this.#button(text.notDigit, () => this.#take('')),
      this.#button(text.cancel, () => this.close()),
    ]);
    this.#panel.focus({ preventScroll: true });
  }

  /**
   * Ask for a number: edited as text, or digit by digit after a tap on its box.
   * @param {string} answered its text
   * @param {Mark[]} marks the boxes of its characters, in the order of the text
   * @param {(label: string) => void} choose called with the text, or "" for what is no number
   */
  askNumber(answered, marks, choose) {
    const field = document.createElement('textarea');
    field.value = answered;
    field.rows = answered.split('\n').length;
    field.spellcheck = false;
    field.inputMode = 'decimal';
    field.ariaLabel = text.numberField;
    field.dataset.testid = 'number-field';
    field.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey) return;
      event.preventDefault();
      this.#take(field.value.trim());
    });
    const done = this.#button(text.done, () => this.#take(field.value.trim()));
    done.classList.add('primary');
    this.#open('number', choose, [
      field,
      done,
      this.#button(text.notNumber, () => this.#take('')),
      this.#button(text.cancel, () => this.close()),
    ]);
    const places = [...answered].flatMap((char, place) => (/\s/.test(char) ? [] : [place]));
    this.#marks.replaceChildren(
      ...marks.map((mark, i) => {
        const over = this.#button('', () => {
          field.focus();
          const start = places[i] ?? answered.length;
          field.setSelectionRange(start, start + 1);
        });
        over.className = 'mark-button';
        over.ariaLabel = text.markNamed(mark.char, i + 1, marks.length);
        Object.assign(over.style, {
          left: percent(mark.left),
          top: percent(mark.top),
          width: percent(mark.right - mark.left),
          height: percent(mark.bottom - mark.top),
        });
        return over;
      }),
    );
    field.focus({ preventScroll: true });
    field.setSelectionRange(0, Math.min(1, answered.length));
  }

  /** @param {boolean} [isDone] rather than given up */
  close(isDone = false) {
    if (!this.isOpen) return;
    const hadFocus = this.#panel.contains(document.activeElement);
    this.#choose = null;
    this.#panel.hidden = true;
    this.#marks.replaceChildren();
    this.#sheet.classList.remove('correcting');
    if (hadFocus) button(isDone && !button('undo-correction').hidden ? 'undo-correction' : 'wrong').focus({ preventScroll: true });
  }

  /**
   * @param {string} kind
   * @param {(label: string) => void} choose
   * @param {HTMLElement[]} children
   */
  #open(kind, choose, children) {
    this.#choose = choose;
    this.#panel.dataset.kind = kind;
    this.#panel.replaceChildren(element('p', { textContent: text.keypad }), ...children);
    this.#panel.hidden = false;
    this.#sheet.classList.toggle('correcting', kind === 'number');
  }

  /** @param {string} label */
  #take(label) {
    const choose = this.#choose;
    if (!choose) return;
    choose(label);
    this.close(true);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (!this.isOpen || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'Escape') this.close();
    else if (this.#panel.dataset.kind !== 'digits') return;
    else if (DIGIT.test(event.key)) this.#take(event.key);
    else if (NONE_KEYS.includes(event.key.toLowerCase())) this.#take('');
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /**
   * @param {string} textContent
   * @param {() => void} act
   */
  #button(textContent, act) {
    const made = element('button', { textContent });
    made.type = 'button';
    made.addEventListener('click', act);
    return made;
  }
}

/** @param {number} units of the pad */
const percent = (units) => `${(100 * units) / SIDE}%`;
