/** This hand's digits with their labels: kept on the device, and what the model that reads makes of them. */

import { CLASSES, SIDE } from '../preprocess/constants.js';
import { text } from '../strings.js';
import { Adaptation, copiesOf } from './adaptation.js';
import { FORMAT, FULL, MOST, VERSION } from './constants.js';
import * as database from './database.js';

/** @typedef {import('../runtime/network.js').Network} Network */

/**
 * @typedef {object} Correction
 * @property {string} key in the order of time
 * @property {number | null} label 0 to 9; null: it is not a digit, which does not change answers
 * @property {Uint8Array} image 28 × 28 as the network saw it, ink 255
 * @property {string} [model] SHA-256 of the model that the rest belongs to
 * @property {Float32Array[]} [logits] of its copies
 * @property {Float32Array[]} [features]
 */

/** Event `change`: another digit, or another model. */
export class Profile extends EventTarget {
  /** @type {Correction[]} the oldest first */
  #corrections = [];
  /** @type {Network | null} */
  #network = null;
  #last = 0; // so that keys of the same millisecond differ
  /** @type {Promise<unknown>} changes are made one after another */
  #work = Promise.resolve();

  /** @returns {readonly Correction[]} */
  get corrections() {
    return this.#corrections;
  }

  get count() {
    return this.#corrections.length;
  }

  /** Whether answers follow this hand: it is wanted, the model can, and it helps. */
  get isUsed() {
    return this.#network?.hand?.isOn === true;
  }

  /**
   * Adapt the answers of a model from now on; the features are computed again if they are another's.
   * @param {Network | null} network null: adapt none
   */
  async use(network) {
    await this.#then(async () => {
      if (this.#network && this.#network !== network) this.#network.hand = null;
      this.#network = network?.hasFeatures ? network : null;
      this.#corrections = await database.all('corrections');
      await this.#fit();
    });
  }

  /**
   * @param {number[][] | Float32Array} image 28 rows of 0–255, or 0 to 1
   * @param {number | null} label
   * @returns {Promise<string>} its key
   */
  async add(image, label) {
    const pixels = image instanceof Float32Array ? image.map((value) => value * FULL) : image.flat();
    const key = this.#nextKey();
    await this.#then(async () => {
      await this.#keep({ key, label, image: Uint8Array.from(pixels, Math.round) });
      await this.#fit();
    });
    return key;
  }

  /** @param {string} key */
  async remove(key) {
    await this.#then(async () => {
      await database.remove('corrections', key);
      this.#corrections = this.#corrections.filter((each) => each.key !== key);
      await this.#fit();
    });
  }

  async clear() {
    await this.#then(async () => {
      await database.clear('corrections');
      this.#corrections = [];
      await this.#fit();
    });
  }

  /** @returns {Blob} a file that `Hand.load` of the Python package reads, too */
  export() {
    const corrections = this.#corrections.map(({ label, image }) => ({ label, image: btoa(String.fromCharCode(...image)) }));
    return new Blob([JSON.stringify({ format: FORMAT, version: VERSION, corrections }, null, 1)], { type: 'application/json' });
  }

  /**
   * Add the digits of a file.
   * @param {Blob} file
   * @throws {Error} it is not such a file
   */
  async import(file) {
    const rows = rowsOf(await file.text());
    await this.#then(async () => {
      for (const { label, image } of rows) await this.#keep({ key: this.#nextKey(), label, image });
      await this.#fit();
    });
  }

  /** @param {Correction} correction */
  async #keep(correction) {
    await this.#compute([correction]);
    this.#corrections.push(correction);
    await database.put('corrections', correction);
    for (const { key } of this.#corrections.splice(0, this.#corrections.length - MOST)) {
      await database.remove('corrections', key);
    }
  }

  /** Compute what the model makes of all digits. */
  async #fit() {
    const network = this.#network;
    if (network) {
      const stale = this.#corrections.filter(({ model }) => model !== network.info.sha256);
      await this.#compute(stale);
      for (const each of stale) await database.put('corrections', each);
      const examples = this.#corrections.flatMap(({ label, logits, features }) =>
        label !== null && logits && features ? [{ label, logits, features }] : [],
      );
      network.hand = new Adaptation(examples);
    }
    this.dispatchEvent(new Event('change'));
  }

  /**
   * Compute the logits and features of digits and their copies.
   * @param {Correction[]} corrections
   */
  async #compute(corrections) {
    const network = this.#network;
    if (!network) return;
    for (const each of corrections) {
      const copies = copiesOf(Float32Array.from(each.image, (value) => value / FULL));
      const batch = new Float32Array(copies.length * SIDE * SIDE);
      copies.forEach((copy, i) => batch.set(copy, i * copy.length));
      const found = await network.runBoth(batch, copies.length);
      const scale = Math.fround(1 / network.temperature);
      each.logits = split(found.logits, copies.length).map((row) => row.slice(0, CLASSES).map((value) => value * scale));
      each.features = split(found.features, copies.length);
      each.model = network.info.sha256;
    }
  }

  /** @param {() => Promise<void>} act */
  #then(act) {
    const done = this.#work.then(act);
    this.#work = done.catch(() => {});
    return done;
  }

  #nextKey() {
    this.#last = Math.max(Date.now(), this.#last + 1);
    return `${this.#last}`.padStart(15, '0');
  }
}

/**
 * @param {Float32Array} values
 * @param {number} count of rows
 */
function split(values, count) {
  const width = values.length / count;
  return Array.from({ length: count }, (_, i) => values.slice(i * width, (i + 1) * width));
}

/**
 * @param {string} content of a file
 * @returns {{label: number | null, image: Uint8Array}[]}
 */
function rowsOf(content) {
  try {
    const { format, version, corrections } = JSON.parse(content);
    if (format !== FORMAT || version !== VERSION) throw new TypeError();
    return corrections.map((/** @type {any} */ { label, image }) => {
      const pixels = Uint8Array.from(atob(image), (letter) => letter.charCodeAt(0));
      const isLabel = label === null || (Number.isInteger(label) && label >= 0 && label < CLASSES);
      if (!isLabel || pixels.length !== SIDE * SIDE) throw new TypeError();
      return { label, image: pixels };
    });
  } catch {
    throw new Error(text.handOtherFile);
  }
}
