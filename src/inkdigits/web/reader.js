/**
 * The reader: pictures in, answers out, and the one that asks a server over HTTP; nothing else of the page knows how.
 */

import { text } from './text.js';

const READ_TIMEOUT = 20_000; // milliseconds, for one picture
const PROBE_TIMEOUT = 4_000; // milliseconds, for a sign of life
const FINAL = [400, 413, 415, 422]; // statuses that tell of the picture, whenever it is sent

/**
 * @typedef {object} Answer
 * @property {number | null} digit 0 to 9; null when the picture is blank
 * @property {number} confidence 0 to 1
 * @property {number[]} probabilities ten, of 0 to 9, that sum to 1
 * @property {boolean} [blank] no ink was found
 * @property {boolean} [is_digit] whether the ink looks like a digit at all; older servers do not say
 * @property {number | null} [digit_score] 0 to 1, how much it does; null from a model that cannot tell
 * @property {{left: number, top: number, right: number, bottom: number} | null} [box] where the ink is, in pixels
 * @property {string | null} [polarity]
 * @property {string} [model] name of the model
 * @property {number[][]} [image] what the network saw, 28 rows of 0–255, when it was asked for
 * @property {number[][]} [explanation] how much each part mattered, 28 rows of -1 to 1, when it was asked for
 *
 * @typedef {object} Options
 * @property {boolean} [seen] tell what the network saw as well
 * @property {boolean} [why] tell how much each part of the ink mattered
 *
 * @typedef {object} Model
 * @property {string} name
 * @property {string} sha256
 * @property {string | null} [network]
 * @property {number | null} [parameters]
 * @property {string | null} [created]
 * @property {string} [inkdigits] version of the program
 * @property {string} card address of the model card, or of all figures where it has none
 * @property {number | null} [threshold] digit score under which the ink is no digit; null: the model cannot tell
 * @property {Record<string, {accuracy?: number, n?: number}>} [metrics]
 * @property {string} [not_on_device] why the page cannot run it
 */

/** The reader looked at the picture and cannot read it; the message says why. */
export class Refused extends Error {
  /** @param {string} reason */
  constructor(reason, isFinal = true) {
    super(reason);
    /** whether asking again gives the same */
    this.isFinal = isFinal;
  }
}

/**
 * Whether the ink looks like a digit, as far as the reader can tell. Else `digit` is only the nearest one, and
 * `confidence` says nothing of how sure the reader is.
 * @param {Answer} answer
 */
export const isDigit = ({ digit, is_digit }) => digit !== null && is_digit !== false;

/** This device lacks what reading on it takes; the message says what. */
export class Missing extends Error {}

/** No answer came: the server is away, overloaded or failing. Asking again later may help. */
export class Unavailable extends Error {}

/**
 * Where the server is: `?server=` in the page's address, else `<meta name="inkdigits-server">`, else beside the page.
 * @param {Document} page
 * @returns {URL | null} ends in a slash; null where the address is "none": then there is no server
 * @throws {TypeError} the address is not one of http or https
 */
export function serverAddress(page) {
  const asked = new URL(page.location.href).searchParams.get('server');
  const meta = /** @type {HTMLMetaElement | null} */ (page.querySelector('meta[name="inkdigits-server"]'));
  const named = asked || meta?.content || '.';
  if (named === 'none') return null;
  const url = new URL(named, page.baseURI);
  if (!/^https?:$/.test(url.protocol)) throw new TypeError(text.notHttp(url.href));
  url.search = url.hash = '';
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}

/** Reads by asking a server. */
export class ServerReader {
  /** @param {URL} address ends in a slash */
  constructor(address) {
    this.address = address;
  }

  /**
   * Read the digit in one picture.
   * @param {Blob} picture an image file
   * @param {Options} [options]
   * @returns {Promise<Answer>}
   * @throws {Refused | Unavailable}
   */
  async read(picture, { seen = false, why = false } = {}) {
    const query = [...(seen ? ['image=true'] : []), ...(why ? ['explain=true'] : [])].join('&');
    const response = await this.#fetch(query ? `predict?${query}` : 'predict', READ_TIMEOUT, {
      method: 'POST',
      body: picture,
      // Anything that does not call itself an image is sent as bytes, for the server to say what it is.
      headers: { 'Content-Type': picture.type.startsWith('image/') ? picture.type : 'application/octet-stream' },
    });
    const answer = await json(response);
    if (response.ok && Array.isArray(answer?.probabilities)) return answer;
    const { status } = response;
    const reason = text.problem(answer ?? {}, status, picture.size) ?? `${status} ${response.statusText}`.trim();
    const passing = response.ok || status >= 500 || status === 429 || status === 408;
    throw passing ? new Unavailable(reason) : new Refused(reason, FINAL.includes(status));
  }

  /**
   * Whether the server is there and ready.
   * @returns {Promise<boolean>}
   */
  async ready() {
    try {
      const response = await this.#fetch('ready', PROBE_TIMEOUT);
      // A host of static files may answer anything with a page of its own.
      return response.ok && (await json(response))?.status === 'ready';
    } catch {
      return false;
    }
  }

  /**
   * Which model answers; null when the server does not say.
   * @returns {Promise<Model | null>}
   */
  async model() {
    try {
      const response = await this.#fetch('model', PROBE_TIMEOUT);
      return response.ok ? modelOf(await json(response), this.address) : null;
    } catch {
      return null;
    }
  }

  /**
   * @param {string} path
   * @param {number} timeout milliseconds
   * @param {RequestInit} [init]
   */
  async #fetch(path, timeout, init) {
    const signal = AbortSignal.timeout(timeout);
    try {
      return await fetch(new URL(path, this.address), { ...init, signal });
    } catch (error) {
      throw new Unavailable(signal.aborted ? text.noAnswer(timeout / 1000) : text.notReached);
    }
  }
}

/**
 * What was told of a model.
 * @param {any} told JSON; its card is an address relative to `base`
 * @param {URL} base ends in a slash
 * @returns {Model}
 */
export const modelOf = (told, base) => ({ ...told, card: new URL(told.card ?? 'model.json', base).href });

/**
 * @param {Response} response
 * @returns {Promise<any>} null when it is not JSON or breaks off
 */
async function json(response) {
  try {
    return await response.json();
  } catch {
    return null;
  }
}
