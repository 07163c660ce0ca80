/** Corrections: what the right answer is, and what is done with it: this device adapts, and the server keeps it. */

import { button, find } from '../controls.js';
import { marksOf } from '../numbers.js';
import { moved } from '../paint.js';
import { isDigit } from '../result.js';
import { savedSetting, saveSetting } from '../storage.js';
import { text } from '../strings.js';
import { Feedback } from './feedback.js';
import { Keypad } from './keypad.js';
import { HandPanel, askChoices } from './panel.js';
import { Profile } from './profile.js';

/** @typedef {import('../app.js').Read} Read */
/** @typedef {import('../types.js').Prediction} Prediction */
/** @typedef {import('../types.js').Reading} Reading */
/** @typedef {import('../runtime/network.js').Network} Network */

/**
 * @typedef {object} Context
 * @property {import('../backend.js').Backend} backend
 * @property {import('../answer.js').AnswerView} view
 * @property {(words: string) => void} announce to screen readers
 * @property {() => void} again read the drawing once more
 */

/**
 * @typedef {object} Done a correction that can be undone
 * @property {Read} read
 * @property {string} label
 * @property {string} words
 * @property {Promise<void>} kept
 * @property {string[]} digits keys of what was added to the hand
 * @property {string | null} sent key of what was sent
 */

const HAND = 'hand'; // setting: "true" or "false"; nothing until it was asked for
const CROP_MARGIN = 0.25; // of the height of a digit that is cut out of a number

/** Ties the keypad, the hand and the server together. */
export class Correction {
  #keypad = new Keypad();
  #profile = new Profile();
  /** @type {Feedback | null} null: there is no server */
  #feedback;
  #panel;
  #note = find('correction', HTMLElement);
  /** @type {Read | null} */
  #read = null;
  /** @type {Done | null} */
  #done = null;
  /** @type {Network | null} the device's, once it is loaded */
  #network = null;
  #serverKeeps = false;

  /** @param {Context} context */
  constructor(context) {
    this.context = context;
    const { backend } = context;
    this.#feedback = backend.server && new Feedback(backend.server.address);
    this.#feedback?.addEventListener('rejected', (event) => {
      this.#say(text.feedbackRejected(/** @type {CustomEvent} */ (event).detail));
    });
    this.#panel = new HandPanel(this.#profile, {
      chosen: (choices) => this.#choose(choices),
      erase: async () => {
        await this.#profile.clear();
        await this.#feedback?.undoAll();
      },
    });
    this.#profile.addEventListener('change', () => this.#show());
    backend.addEventListener('change', () => this.#follow());
    button('right').addEventListener('click', () => this.#read && this.#take(answeredBy(this.#read.answer)));
    button('undo-correction').addEventListener('click', () => this.undo());
  }

  /** Do what was chosen in an earlier visit. */
  async start() {
    if (this.#adapts && !this.context.backend.onDevice) this.#readOnDevice();
    this.#sendIds();
    this.#feedback?.flush();
    await Promise.all([this.#follow(), this.#askServer()]);
    this.#show();
  }

  /** @param {Read | null} read what can be corrected now; null: nothing */
  show(read) {
    this.#read = read;
    const done = this.#done;
    if (done && read && isSameInk(done.read, read)) {
      done.read = read; // it was only read again
      this.#showSaid(read.answer, done.label);
    } else this.#done = null;
    this.#show();
  }

  /** Show what it is read as, even if it was corrected. */
  forget() {
    this.#done = null;
  }

  /** The drawing has changed. */
  close() {
    this.#keypad.close();
  }

  /** Ask what it was. */
  open() {
    const read = this.#read;
    if (!read) return;
    const { reading } = read.answer;
    const choose = (/** @type {string} */ label) => this.#take(label);
    if (reading) this.#keypad.askNumber(reading.text, marksOf(reading, read.place), choose);
    else this.#keypad.askDigit(choose);
  }

  /** @param {number} digit that it was, by a tap on its bar */
  correct(digit) {
    if (this.#read && !this.#read.answer.reading) this.#take(String(digit));
  }

  /** Take the last correction back. */
  async undo() {
    const done = this.#done;
    if (!done) return;
    this.#done = null;
    button('wrong').focus({ preventScroll: true });
    if (this.#read === done.read) this.context.view.show(done.read.answer);
    this.#say(text.correctionUndone);
    await done.kept;
    for (const key of done.digits) await this.#profile.remove(key);
    if (done.sent) await this.#feedback?.undo(done.sent);
  }

  /** @param {string} label */
  #take(label) {
    const read = this.#read;
    if (!read) return;
    const { answer } = read;
    const answered = answeredBy(answer);
    this.#showSaid(answer, label);
    const words = text.noted(label, answer.reading !== undefined);
    /** @type {Done} */
    const done = { read, label, words, digits: [], sent: null, kept: Promise.resolve() };
    this.#done = done;
    done.kept = this.#keep(done, label, label === answered ? 'confirmed' : 'corrected');
    this.#say(words);
    this.#show();
  }

  /**
   * @param {Prediction} answer
   * @param {string} label
   */
  #showSaid(answer, label) {
    const answered = answeredBy(answer);
    if (label !== answered) this.context.view.correct(saidOf(answer, label), answered);
  }

  /**
   * @param {Done} done
   * @param {string} label
   * @param {'corrected' | 'confirmed'} kind
   */
  async #keep(done, label, kind) {
    const { read } = done;
    await this.#ask();
    if (this.#adapts) {
      for (const [image, digit] of await this.#digitsOf(read, label)) {
        done.digits.push(await this.#profile.add(image, digit));
      }
    }
    if (!this.#feedback?.consent) return;
    const { answer } = read;
    const { prediction_id: id } = answer.reading ?? answer;
    const reading = answer.reading ? 'number' : 'digit';
    const seen = answer.reading ? await pictureOf(read) : { image: await dataUrl(read.from.png) };
    done.sent = await this.#feedback.send({ kind, label, reading, ...seen, ...(id ? { prediction_id: id } : {}) });
  }

  /** Ask once what may be done with corrections. */
  async #ask() {
    await this.#askServer();
    const [canAdapt, canSend] = [this.#canAdapt && savedSetting(HAND) === null, this.#canSend && this.#feedback?.consent === null];
    if (!canAdapt && !canSend) return;
    const { hand, feedback } = await askChoices({ canAdapt, canSend });
    await this.#choose({ ...(canAdapt ? { hand } : {}), ...(canSend ? { feedback } : {}) });
  }

  /** @param {Partial<import('./panel.js').Choices>} choices */
  async #choose({ hand, feedback }) {
    if (feedback !== undefined) await this.#feedback?.choose(feedback);
    this.#sendIds();
    if (hand !== undefined) {
      saveSetting(HAND, String(hand));
      if (hand && !this.context.backend.onDevice) this.#readOnDevice();
      await this.#follow();
      this.context.again();
    }
    this.#show();
  }

  /**
   * The digits that a correction labels, as the network saw them. Of a number these are the ones that were changed and that
   * touch no other.
   * @param {Read} read
   * @param {string} label
   * @returns {Promise<[number[][], number | null][]>}
   */
  async #digitsOf({ answer, from, page, place }, label) {
    const { reading } = answer;
    if (!reading) {
      const image = answer.image ?? (await this.#seen(from.png));
      return image ? [[image, label === '' ? null : Number(label)]] : [];
    }
    const digits = reading.numbers.flatMap((number) => number.digits);
    const chars = [...label.replace(/\s/g, '')];
    if (chars.length !== digits.length) return [];
    /** @type {[number[][], number | null][]} */
    const found = [];
    const picture = await page();
    for (const [i, { char, box, touching }] of digits.entries()) {
      if (chars[i] === char || touching || !/\d/.test(chars[i])) continue;
      const image = await this.#seen(await cropped(picture.png, moved(box, place, picture)));
      if (image) found.push([image, Number(chars[i])]);
    }
    return found;
  }

  /** @param {Blob} picture */
  async #seen(picture) {
    return (await this.context.backend.read(picture, { image: true }, async () => null)).image;
  }

  get #adapts() {
    return savedSetting(HAND) === 'true' && this.#canAdapt;
  }

  get #canAdapt() {
    return this.context.backend.hasDevice && this.#network?.hasFeatures !== false;
  }

  get #canSend() {
    return this.#feedback !== null && (this.#serverKeeps || this.#feedback.consent === true);
  }

  async #askServer() {
    const { server } = this.context.backend;
    if (!this.#serverKeeps) this.#serverKeeps = (await server?.model())?.feedback === true;
  }

  /** Have the server say by which id it knows each answer, if corrections are sent. */
  #sendIds() {
    const { server } = this.context.backend;
    if (server) server.wantsIds = this.#feedback?.consent === true;
  }

  /** Have the hand follow the model that reads. */
  async #follow() {
    const { backend } = this.context;
    const wanted = savedSetting(HAND) === 'true';
    if (backend.onDevice && (wanted || backend.isLoaded)) this.#network = await backend.network().catch(() => null);
    await this.#profile.use(this.#adapts ? this.#network : null);
  }

  #readOnDevice() {
    const box = find('on-device', HTMLInputElement);
    if (!box.checked && !box.disabled) box.click();
  }

  /** @param {string} words */
  #say(words) {
    this.#note.textContent = words;
    this.context.announce(words);
  }

  #show() {
    const { backend } = this.context;
    const { count, isUsed } = this.#profile;
    const adapted = isUsed ? text.adapted(count) : text.notAdapted(count);
    const asks = this.#feedback?.consent === true && isAudited(this.#read?.answer);
    const shown = this.#adapts && backend.onDevice && count ? adapted : '';
    this.#note.textContent = this.#done?.words ?? (asks ? text.askRight : shown);
    button('undo-correction').hidden = !this.#done;
    button('right').hidden = !this.#read || this.#done !== null || !(asks || this.#adapts);
    const state = backend.hasDevice
      ? this.#network?.hasFeatures === false
        ? text.handCannot
        : this.#adapts
          ? adapted
          : text.handOff(count)
      : text.handNeedsDevice;
    const choices = { hand: this.#adapts, feedback: this.#feedback?.consent === true };
    const can = { canAdapt: this.#canAdapt, canSend: this.#canSend, isEmpty: !count && !choices.feedback };
    this.#panel.show(state, choices, can);
  }
}

/**
 * Whether two answers are to the same drawing.
 * @param {Read} a
 * @param {Read} b
 */
const isSameInk = (a, b) => a.ink.length === b.ink.length && a.ink.every((stroke, i) => stroke === b.ink[i]);

/** @param {Prediction | undefined} answer */
const isAudited = (answer) => (answer?.reading ?? answer)?.audit === true;

/**
 * The label that an answer gives; "" if it is rejected.
 * @param {Prediction} answer
 */
function answeredBy(answer) {
  if (answer.reading) return answer.reading.is_number ? answer.reading.text : '';
  return isDigit(answer) ? String(answer.digit) : '';
}

/**
 * The answer as the user says it is.
 * @param {Prediction} answer
 * @param {string} label
 * @returns {Prediction}
 */
function saidOf(answer, label) {
  const { reading } = answer;
  if (!reading) {
    if (label === '') return { ...answer, is_digit: false, reason: 'not a digit' };
    const probabilities = answer.probabilities.map((_, digit) => Number(String(digit) === label));
    return { ...answer, digit: Number(label), confidence: 1, probabilities, is_digit: true, reason: null };
  }
  if (label === '') return { ...answer, reading: { ...reading, is_number: false } };
  const rows = label.split('\n').map((line) => line.split(/\s+/).filter(Boolean));
  const [first] = reading.numbers;
  const numbers = rows.flat().map((number) => ({
    ...first,
    text: number,
    digits: [...number].map((char) => ({ ...first.digits[0], char, confidence: 1 })),
    alternatives: [],
  }));
  let next = 0;
  const lines = rows.map((row) => row.map(() => next++));
  return { ...answer, reading: { ...reading, text: label, numbers, lines, table: null, is_number: true, confidence: 1 } };
}

/**
 * One digit of a picture, on a sheet of its own.
 * @param {Blob} picture
 * @param {import('../types.js').Box} box
 */
async function cropped(picture, { left, top, right, bottom }) {
  const [x, y, width, height] = [left, top, right - left, bottom - top].map(Math.round);
  const bitmap = await createImageBitmap(picture, x, y, Math.max(width, 1), Math.max(height, 1));
  const margin = Math.ceil(CROP_MARGIN * Math.max(width, height)) + 1;
  const canvas = new OffscreenCanvas(bitmap.width + 2 * margin, bitmap.height + 2 * margin);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext('2d'));
  context.fillStyle = '#fff';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, margin, margin);
  bitmap.close();
  return canvas.convertToBlob();
}

/**
 * What numbers were read from, as it is sent.
 * @param {Read} read
 */
const pictureOf = async ({ lines, page }) =>
  lines ? { strokes: lines } : { image: await dataUrl((await page()).png) };

/** @param {Blob} blob */
async function dataUrl(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const letters = Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
  return `data:${blob.type || 'image/png'};base64,${btoa(letters)}`;
}
