/** The table of image files: a row each, filled as the answers come. */

import { toCsv } from './csv.js';
import { text } from './text.js';

/** @typedef {import('./batch.js').Batch} Batch */
/** @typedef {import('./batch.js').Item} Item */

/** A view of a batch. */
export class BatchTable {
  /** @type {Map<Item, HTMLTableRowElement>} */
  #rows = new Map();

  /**
   * @param {Batch} batch
   * @param {object} elements
   * @param {HTMLElement} elements.section hidden while there are no files
   * @param {HTMLTableSectionElement} elements.body
   * @param {HTMLElement} elements.progress
   * @param {HTMLElement} elements.save
   * @param {HTMLElement} elements.clear
   */
  constructor(batch, elements) {
    this.batch = batch;
    this.elements = elements;
    batch.addEventListener('item', (event) => this.#show(/** @type {CustomEvent<Item>} */ (event).detail));
    elements.save.addEventListener('click', () => this.#save());
    elements.clear.addEventListener('click', () => this.#clear());
  }

  /** @param {Item} item */
  #show(item) {
    const { section, body, progress } = this.elements;
    let row = this.#rows.get(item);
    if (!row) {
      row = this.#newRow(item);
      this.#rows.set(item, row);
      body.append(row);
    }
    this.#fill(row, item);
    section.hidden = false;
    const { done, items, failed } = this.batch;
    progress.textContent = text.progress(done, items.length, failed);
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
  #fill(row, { state, answer, reason, thumbnail }) {
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
    retry.hidden = !failed;
    digit.hidden = confidence.hidden = failed;
    /** @type {HTMLTableCellElement} */ (name).colSpan = failed ? 3 : 1;
    const read = state === 'read' ? answer : null;
    digit.textContent = read ? String(read.digit ?? text.itemBlank) : '';
    digit.classList.toggle('blank', read?.digit === null);
    if (read) confidence.textContent = read.digit === null ? '' : text.percent(read.confidence);
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
