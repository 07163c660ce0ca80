/** A batch of image files, read a few at a time, one request each. No DOM: the table shows it. */

import { Rejected, confidenceOf, messageOf } from './result.js';
import { text } from './strings.js';

const PARALLEL = 3; // requests at a time
const LONGEST_SIDE = 2048; // pixels; larger pictures are scaled down before they are sent
const QUALITY = 0.92; // of JPEG and WebP, 0 to 1
const THUMBNAIL_SIDE = 128; // pixels, the longer side
const MAX_TRIES = 4; // of one file that gets no answer; from then on only its Retry button tries again

/** @typedef {import('./types.js').Prediction} Prediction */
/** @typedef {import('./types.js').Item} Item */

/** Event: `item`, with the Item as `detail`. After a request without an answer, the batch waits for `resume`. */
export class Batch extends EventTarget {
  /** @type {Item[]} */
  items = [];
  #underway = 0;
  #paused = false;

  /** @param {(picture: Blob) => Promise<Prediction>} read */
  constructor(read) {
    super();
    this.read = read;
  }

  get done() {
    return this.items.filter(({ state }) => state === 'read' || state === 'failed').length;
  }

  get failed() {
    return this.items.filter(({ state }) => state === 'failed').length;
  }

  /** How many show something that is neither a digit nor a number. */
  get notDigits() {
    return this.items.filter(({ answer }) => answer && answer.digit !== null && confidenceOf(answer) === null).length;
  }

  get isSettled() {
    return this.done === this.items.length;
  }

  /** @param {Iterable<File>} files */
  add(files) {
    for (const file of files) {
      const item = {
        file,
        state: /** @type {const} */ ('waiting'),
        tries: 0,
        answer: null,
        reason: '',
        canRetry: false,
        thumbnail: null,
      };
      this.items.push(item);
      this.#notify(item);
    }
    this.#fill();
  }

  /** @param {Item} item a failed one */
  retry(item) {
    item.tries = 0;
    this.#setState(item, 'waiting');
    this.resume();
  }

  /** Continue after requests without an answer. */
  resume() {
    this.#paused = false;
    this.#fill();
  }

  /** Remove all files; answers under way are dropped. */
  clear() {
    this.items = [];
  }

  #fill() {
    while (!this.#paused && this.#underway < PARALLEL) {
      const next = this.items.find(({ state }) => state === 'waiting');
      if (!next) break;
      this.#process(next);
    }
  }

  /** @param {Item} item */
  async #process(item) {
    this.#underway += 1;
    this.#setState(item, 'reading');
    try {
      if (!item.file.size) throw new Rejected(text.emptyFile);
      item.answer = await this.read(await this.#prepare(item));
      this.#setState(item, 'read');
    } catch (error) {
      item.reason = messageOf(error);
      item.tries += 1;
      item.canRetry = !(error instanceof Rejected && error.isFinal);
      const final = error instanceof Rejected || item.tries >= MAX_TRIES;
      this.#setState(item, final ? 'failed' : 'waiting');
      this.#paused ||= !(error instanceof Rejected);
    }
    this.#underway -= 1;
    this.#fill();
  }

  /**
   * The file to send: itself, or scaled down if it is large.
   * @param {Item} item
   * @returns {Promise<Blob>}
   */
  async #prepare(item) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(item.file);
    } catch {
      return item.file; // the server may know the format; if not, it says why
    }
    const { width, height } = bitmap;
    if (!item.thumbnail) {
      item.thumbnail = await scaled(bitmap, Math.min(1, THUMBNAIL_SIDE / Math.max(width, height)));
      this.#notify(item);
    }
    const scale = LONGEST_SIDE / Math.max(width, height);
    const picture = scale < 1 ? await encoded(await scaled(bitmap, scale), item.file.type) : item.file;
    bitmap.close();
    return picture;
  }

  /**
   * @param {Item} item
   * @param {Item['state']} state
   */
  #setState(item, state) {
    item.state = state;
    this.#notify(item);
  }

  /** @param {Item} item */
  #notify(item) {
    if (this.items.includes(item)) this.dispatchEvent(new CustomEvent('item', { detail: item }));
  }
}

/**
 * @param {ImageBitmap} bitmap
 * @param {number} scale
 */
function scaled(bitmap, scale) {
  const side = (/** @type {number} */ length) => Math.max(1, Math.round(length * scale));
  return createImageBitmap(bitmap, {
    resizeWidth: side(bitmap.width),
    resizeHeight: side(bitmap.height),
    resizeQuality: 'high',
  });
}

/**
 * @param {ImageBitmap} bitmap
 * @param {string} type of the original file
 */
async function encoded(bitmap, type) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext('bitmaprenderer')?.transferFromImageBitmap(bitmap);
  // A type that this browser cannot write becomes PNG: the standard says so.
  return canvas.convertToBlob({ type, quality: QUALITY });
}
