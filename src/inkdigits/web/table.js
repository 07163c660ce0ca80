/** The table of image files: a row each, filled as the answers come, and saved as CSV. */

import { button, element, find } from './controls.js';
import { confidenceOf, isDigit } from './result.js';
import { text } from './strings.js';

/** @typedef {import('./batch.js').Batch} Batch */
/** @typedef {import('./types.js').Item} Item */

const OUTPUTS = ['digit', 'confidence', 'is_digit', 'digit_score', 'accepted', 'reason'];
const COLUMNS = ['name', ...OUTPUTS, ...Array.from({ length: 10 }, (_, digit) => `p${digit}`), 'error'];
const OF_NUMBERS = ['text', 'text_confidence']; // follow if one of the pictures shows numbers

// The states of a sorted column in ARIA's terms, and the sign by which confidences are compared.
const ORDERS = { none: 0, ascending: 1, descending: -1 };

/** Shows a batch. */
export class BatchTable {
  /** @type {Map<Item, HTMLTableRowElement>} */
  #rows = new Map();
  /** @type {keyof typeof ORDERS} */
  #order = 'none';
  #section = find('results', HTMLElement);
  #body = find('rows', HTMLTableSectionElement);
  #sorted = find('sorted', HTMLTableCellElement);
  #progress = find('progress', HTMLElement);
  #bar = find('progress-bar', HTMLProgressElement);

  /** @param {Batch} batch */
  constructor(batch) {
    this.batch = batch;
    batch.addEventListener('item', (event) => this.#show(/** @type {CustomEvent<Item>} */ (event).detail));
    this.#sorted.querySelector('button')?.addEventListener('click', () => this.#sort());
    button('save').addEventListener('click', () => this.#save());
    button('clear-files').addEventListener('click', () => this.#clear());
  }

  /** @param {Item} item */
  #show(item) {
    let row = this.#rows.get(item);
    if (!row) {
      row = this.#newRow(item);
      this.#rows.set(item, row);
      this.#body.append(row);
    }
    this.#fill(row, item);
    this.#section.hidden = false;
    const { done, items, notDigits, failed } = this.batch;
    this.#progress.textContent = text.progress(done, items.length, notDigits, failed);
    this.#bar.max = items.length;
    this.#bar.value = done;
    this.#bar.classList.toggle('done', done === items.length);
    if (this.#order !== 'none' && (item.state === 'read' || item.state === 'failed')) this.#arrange();
  }

  /** In turn: as added, lowest confidence first, highest first. */
  #sort() {
    const orders = /** @type {(keyof typeof ORDERS)[]} */ (Object.keys(ORDERS));
    this.#order = orders[(orders.indexOf(this.#order) + 1) % orders.length];
    if (this.#order === 'none') this.#sorted.removeAttribute('aria-sort');
    else this.#sorted.setAttribute('aria-sort', this.#order);
    this.#arrange();
  }

  #arrange() {
    const sign = ORDERS[this.#order];
    // Non-digits have no confidence and come after the digits in both orders; failed files come last.
    const place = (/** @type {Item} */ { answer }) => {
      if (!answer) return 3;
      const confidence = confidenceOf(answer);
      return confidence === null ? 2 : sign * confidence;
    };
    const items = [...this.batch.items];
    if (sign) items.sort((a, b) => place(a) - place(b));
    const focused = document.activeElement;
    this.#body.append(...items.flatMap((item) => this.#rows.get(item) ?? []));
    if (focused instanceof HTMLElement && this.#body.contains(focused)) focused.focus();
  }

  /** @param {Item} item */
  #newRow(item) {
    const row = element('tr');
    const picture = element('td', { className: 'thumbnail' });
    picture.append(element('canvas', { width: 0, height: 0, ariaHidden: 'true' }));
    const name = element('th', { className: 'name', scope: 'row' });
    const retry = element('button', { type: 'button', className: 'small', textContent: text.retry });
    retry.ariaLabel = text.retryNamed(item.file.name);
    retry.addEventListener('click', () => {
      name.tabIndex = -1;
      name.focus(); // the button goes, and would take the focus along
      this.batch.retry(item);
    });
    name.append(
      element('span', { className: 'file', textContent: item.file.name }),
      element('span', { className: 'reason' }),
      retry,
    );
    row.append(picture, name, element('td', { className: 'digit' }), element('td', { className: 'confidence' }));
    return row;
  }

  /**
   * @param {HTMLTableRowElement} row
   * @param {Item} item
   */
  #fill(row, { state, answer, reason, canRetry, thumbnail }) {
    const [picture, name, digit, confidence] = row.cells;
    row.dataset.state = state;
    const canvas = /** @type {HTMLCanvasElement} */ (picture.firstElementChild);
    if (thumbnail && canvas.width === 0) {
      canvas.width = thumbnail.width;
      canvas.height = thumbnail.height;
      canvas.getContext('2d')?.drawImage(thumbnail, 0, 0);
    }
    const [, why, retry] = /** @type {HTMLElement[]} */ ([...name.children]);
    const failed = state === 'failed';
    why.textContent = failed ? reason : '';
    retry.hidden = !failed || !canRetry;
    if (!retry.hidden && document.activeElement === name) retry.focus();
    digit.hidden = confidence.hidden = failed;
    /** @type {HTMLTableCellElement} */ (name).colSpan = failed ? 3 : 1;
    const read = state === 'read' ? answer : null;
    const sure = read && confidenceOf(read);
    const isNone = read !== null && sure === null;
    const numbers = isNone ? undefined : read?.reading?.text;
    const verdict = isNone ? text.item(read.digit === null ? 'blank' : read.reason) : (numbers ?? read?.digit);
    digit.textContent = String(verdict ?? '');
    digit.classList.toggle('blank', isNone);
    digit.classList.toggle('numbers', numbers !== undefined);
    if (read) confidence.textContent = sure === null ? '' : text.percent(sure);
    else confidence.textContent = { waiting: text.itemWaiting, reading: text.itemReading, failed: '', read: '' }[state];
  }

  #save() {
    const href = URL.createObjectURL(new Blob([toCsv(this.batch.items)], { type: 'text/csv' }));
    element('a', { href, download: text.csvName }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10_000); // some browsers start the download only after the click
  }

  #clear() {
    this.batch.clear();
    this.#rows.clear();
    this.#body.replaceChildren();
    this.#section.hidden = true;
    this.#order = 'none';
    this.#sorted.removeAttribute('aria-sort');
    find('upload', HTMLInputElement).focus({ preventScroll: true }); // the section goes, and would take the focus along
  }
}

/**
 * CSV by RFC 4180, with no cell that a spreadsheet takes for a formula and the columns of `inkdigits predict --csv`: a
 * header, then a line for each file that was read or failed. The text of numbers follows in columns of its own.
 * @param {Item[]} items
 */
function toCsv(items) {
  const hasNumbers = items.some(({ answer }) => answer?.reading);
  const rows = [hasNumbers ? [...COLUMNS, ...OF_NUMBERS] : COLUMNS];
  for (const { file, state, answer, reason } of items) {
    if (state === 'read' && answer) {
      const { digit, confidence, is_digit, digit_score, reason: why, probabilities, reading } = answer;
      const values = [digit, confidence, is_digit, digit_score, isDigit(answer), why, ...probabilities, ''];
      const more = hasNumbers ? [reading?.text, reading?.confidence] : [];
      rows.push([file.name, ...[...values, ...more].map((value) => String(value ?? ''))]);
    } else if (state === 'failed') {
      const more = hasNumbers ? ['', ''] : [];
      rows.push([file.name, '', '', '', '', 'false', '', ...Array(10).fill(''), reason, ...more]);
    }
  }
  return rows.map((row) => `${row.map(quoted).join(',')}\r\n`).join('');
}

/** @param {string} value */
function quoted(value) {
  const cell = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value; // https://owasp.org/www-community/attacks/CSV_Injection
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
