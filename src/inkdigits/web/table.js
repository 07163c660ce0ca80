/** The table of image files: a row each, filled as the answers come. */

import { toCsv } from './csv.js';
import { isDigit } from './reader.js';
import { text } from './text.js';

/** @typedef {import('./batch.js').Batch} Batch */
/** @typedef {import('./batch.js').Item} Item */

// The states of a sorted column, as ARIA names them, and the sign that the difference of two values gets.
const ORDERS = { none: 0, ascending: 1, descending: -1 };

/** A view of a batch. */
export class BatchTable {
  /** @type {Map<Item, HTMLTableRowElement>} */
  #rows = new Map();
  /** @type {keyof typeof ORDERS} */
  #order = 'none';

  /**
   * @param {Batch} batch
   * @param {object} elements
   * @param {HTMLElement} elements.section hidden while there are no files
   * @param {HTMLTableSectionElement} elements.body
   * @param {HTMLTableCellElement} elements.sorted head of the column that can be sorted by, a button in it
   * @param {HTMLElement} elements.progress
   * @param {HTMLProgressElement} elements.bar
   * @param {HTMLElement} elements.save
   * @param {HTMLElement} elements.clear
   */
  constructor(batch, elements) {
    this.batch = batch;
    this.elements = elements;
    batch.addEventListener('item', (event) => this.#show(/** @type {CustomEvent<Item>} */ (event).detail));
    elements.sorted.querySelector('button')?.addEventListener('click', () => this.#sort());
    elements.save.addEventListener('click', () => this.#save());
    elements.clear.addEventListener('click', () => this.#clear());
  }

  /** @param {Item} item */
  #show(item) {
    const { section, body, progress, bar } = this.elements;
    let row = this.#rows.get(item);
    if (!row) {
      row = this.#newRow(item);
      this.#rows.set(item, row);
      body.append(row);
    }
    this.#fill(row, item);
    section.hidden = false;
    const { done, items, notDigits, failed } = this.batch;
    progress.textContent = text.progress(done, items.length, notDigits, failed);
    bar.max = items.length;
    bar.value = done;
    bar.classList.toggle('done', done === items.length);
    if (this.#order !== 'none' && (item.state === 'read' || item.state === 'failed')) this.#arrange();
  }

  /** As they came, then the least sure first, then the surest, and round again. */
  #sort() {
    const orders = /** @type {(keyof typeof ORDERS)[]} */ (Object.keys(ORDERS));
    this.#order = orders[(orders.indexOf(this.#order) + 1) % orders.length];
    if (this.#order === 'none') this.elements.sorted.removeAttribute('aria-sort');
    else this.elements.sorted.setAttribute('aria-sort', this.#order);
    this.#arrange();
  }

  #arrange() {
    const sign = ORDERS[this.#order];
    // What is no digit has no confidence, and comes last either way; behind it what has no answer.
    const place = (/** @type {Item} */ { answer }) => (answer ? (isDigit(answer) ? sign * answer.confidence : 2) : 3);
    const items = [...this.batch.items];
    if (sign) items.sort((a, b) => place(a) - place(b));
    const focused = document.activeElement;
    this.elements.body.append(...items.flatMap((item) => this.#rows.get(item) ?? []));
    if (focused instanceof HTMLElement && this.elements.body.contains(focused)) focused.focus();
  }

  /** @param {Item} item */
  #newRow(item) {
    const row = document.createElement('tr');
    const [picture, name, digit, confidence] = ['thumbnail', 'name', 'digit', 'confidence'].map((kind) => {
      const cell = document.createElement(kind === 'name' ? 'th' : 'td');
      cell.className = kind;
      row.append(cell);
      return cell;
    });
    /** @type {HTMLTableCellElement} */ (name).scope = 'row';
    const canvas = document.createElement('canvas');
    canvas.setAttribute('aria-hidden', 'true');
    canvas.width = canvas.height = 0;
    picture.append(canvas);
    const fileName = document.createElement('span');
    fileName.className = 'file';
    fileName.textContent = item.file.name;
    const reason = document.createElement('span');
    reason.className = 'reason';
    const retry = document.createElement('button');
    retry.type = 'button';
    retry.className = 'small';
    retry.textContent = text.retry;
    retry.setAttribute('aria-label', text.retryNamed(item.file.name));
    retry.addEventListener('click', () => this.batch.retry(item));
    name.append(fileName, reason, retry);
    digit.textContent = confidence.textContent = '';
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
    digit.hidden = confidence.hidden = failed;
    /** @type {HTMLTableCellElement} */ (name).colSpan = failed ? 3 : 1;
    const read = state === 'read' ? answer : null;
    const isNone = read !== null && !isDigit(read);
    digit.textContent = read ? String(isNone ? (read.digit === null ? text.itemBlank : text.itemNoDigit) : read.digit) : '';
    digit.classList.toggle('blank', isNone);
    if (read) confidence.textContent = isNone ? '' : text.percent(read.confidence);
    else confidence.textContent = { waiting: text.itemWaiting, reading: text.itemReading, failed: '', read: '' }[state];
  }

  #save() {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([toCsv(this.batch.items)], { type: 'text/csv' }));
    link.download = text.csvName;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000); // some browsers read it only after the click
  }

  #clear() {
    this.batch.clear();
    this.#rows.clear();
    this.elements.body.replaceChildren();
    this.elements.section.hidden = true;
  }
}
