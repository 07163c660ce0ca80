/**
 * Corrections that are sent to the server, if the user agreed. Each has a key of its own, so that the server keeps it once,
 * however often it is sent. What cannot be sent waits on the device.
 */

import { savedSetting, saveSetting } from '../storage.js';
import * as database from './database.js';

const CONSENT = 'feedback'; // setting: "yes" or "no"; nothing until it was asked for
const TIMEOUT = 20_000; // milliseconds
const RETRY = 30_000; // milliseconds until what waits is sent again
const MOST = 200; // entries that are kept, sent or not; the oldest go first
const LATER = [408, 429]; // statuses, besides those of a failing server, after which another try may succeed
const EXPIRED = 410;

/**
 * @typedef {object} Entry a correction that was sent or waits
 * @property {string} key
 * @property {number} at milliseconds since 1970
 * @property {Record<string, unknown> | null} body null once it was sent
 * @property {boolean} isTried it may have arrived
 * @property {boolean} isUndone it is to be removed from the server, if it arrived
 * @property {string | null} id by which the server removes it
 */

/** Event `rejected`, with the reason as `detail`: the server will not take a correction. */
export class Feedback extends EventTarget {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {Promise<void>} */
  #flushing = Promise.resolve();

  /** @param {URL} server ends in a slash */
  constructor(server) {
    super();
    this.server = server;
    window.addEventListener('online', () => this.flush());
  }

  /** Whether the user agreed; null: not asked yet. */
  get consent() {
    const saved = savedSetting(CONSENT);
    return saved === null ? null : saved === 'yes';
  }

  /**
   * Keep the user's choice. Without consent, what waits is not sent any more.
   * @param {boolean} agrees
   */
  async choose(agrees) {
    saveSetting(CONSENT, agrees ? 'yes' : 'no');
    if (agrees) return;
    for (const { key, body } of await this.#entries()) if (body) await database.remove('feedback', key);
  }

  /**
   * Send a correction, now or when the server can be reached.
   * @param {Record<string, unknown>} content of the request, without key and consent
   * @returns {Promise<string>} its key
   */
  async send(content) {
    const key = uuid();
    await this.#keep({
      key,
      at: Date.now(),
      body: { ...content, key, consent: true, source: 'page' },
      isTried: false,
      isUndone: false,
      id: null,
    });
    const entries = await this.#entries();
    for (const { key: old } of entries.slice(0, Math.max(0, entries.length - MOST))) await database.remove('feedback', old);
    this.flush();
    return key;
  }

  /**
   * Take a correction back, on the server as well.
   * @param {string} key
   */
  async undo(key) {
    await this.#flushing;
    const entry = (await this.#entries()).find((each) => each.key === key);
    if (!entry) return;
    if (entry.isTried || entry.id) await this.#keep({ ...entry, isUndone: true });
    else await database.remove('feedback', key);
    await this.flush();
  }

  /** Take back all that was sent. */
  async undoAll() {
    for (const { key } of await this.#entries()) await this.undo(key);
  }

  /** Send what waits, one after another. */
  flush() {
    this.#flushing = this.#flushing.then(async () => {
      clearTimeout(this.#timer);
      for (const entry of await this.#entries()) {
        if (entry.body === null && !entry.isUndone) continue;
        if (await this.#sent(entry)) continue;
        this.#timer = setTimeout(() => this.flush(), RETRY);
        return;
      }
    });
    return this.#flushing;
  }

  /**
   * @param {Entry} entry
   * @returns {Promise<boolean>} false: it waits
   */
  async #sent(entry) {
    let { id } = entry;
    if (!id && entry.body) {
      if (!entry.isUndone && !this.consent) return true;
      await this.#keep({ ...entry, isTried: true });
      const response = await this.#request('feedback', 'POST', entry.body);
      if (!response || isLater(response)) return false;
      if (response.status === EXPIRED && entry.body.prediction_id) {
        const { prediction_id: _, ...body } = entry.body;
        return this.#sent({ ...entry, body });
      }
      const answer = await response.json().catch(() => null);
      if (!response.ok) {
        await database.remove('feedback', entry.key);
        if (!entry.isUndone) this.dispatchEvent(new CustomEvent('rejected', { detail: answer?.detail ?? `${response.status}` }));
        return true;
      }
      id = /** @type {string} */ (answer.id);
      await this.#keep({ ...entry, isTried: true, body: null, id });
    }
    if (!entry.isUndone) return true;
    const response = id ? await this.#request(`feedback/${id}`, 'DELETE') : null;
    if (id && (!response || isLater(response))) return false;
    await database.remove('feedback', entry.key);
    return true;
  }

  /**
   * @param {string} path
   * @param {string} method
   * @param {Record<string, unknown>} [body]
   * @returns {Promise<Response | null>} null: the server cannot be reached
   */
  async #request(path, method, body) {
    const json = body && { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } };
    return fetch(new URL(path, this.server), { method, ...json, signal: AbortSignal.timeout(TIMEOUT) }).catch(() => null);
  }

  /** @returns {Promise<Entry[]>} the oldest first */
  async #entries() {
    return (await database.all('feedback')).sort((a, b) => a.at - b.at);
  }

  /** @param {Entry} entry */
  async #keep(entry) {
    await database.put('feedback', entry);
  }
}

/** @param {Response} response */
const isLater = ({ status }) => status >= 500 || LATER.includes(status);

/** A random key; `crypto.randomUUID` is missing on a page that came over plain HTTP. */
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
