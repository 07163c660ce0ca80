/** The server as backend. Nothing else in the page knows that it is asked over HTTP. */

import { Rejected, ServerUnavailable, toModelInfo } from './result.js';
import { text } from './strings.js';

/** @typedef {import('./types.js').Prediction} Prediction */

const PREDICT_TIMEOUT = 20_000; // milliseconds, for one picture
const PROBE_TIMEOUT = 4_000; // milliseconds
const JSON_TYPE = 'application/json';
const NO_ROUTE = [404, 405]; // statuses of a server that has no such address, such as an older one
const FINAL = [400, 413, 415, 422]; // statuses that are about the picture, whenever it is sent

/**
 * Where the server is: `?server=` in the page's address, else `<meta name="inkdigits-server">`, else next to the page.
 * @param {Document} page
 * @returns {URL | null} ends in a slash; null if the address is "none": there is no server
 * @throws {TypeError} the address is neither http nor https
 */
export function serverAddress(page) {
  const query = new URL(page.location.href).searchParams.get('server');
  const meta = /** @type {HTMLMetaElement | null} */ (page.querySelector('meta[name="inkdigits-server"]'));
  const named = query || meta?.content || '.';
  if (named === 'none') return null;
  const url = new URL(named, page.baseURI);
  if (!/^https?:$/.test(url.protocol)) throw new TypeError(text.notHttp(url.href));
  url.search = url.hash = '';
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}

/** Reads pictures by asking a server. */
export class ServerBackend {
  /** @param {URL} address ends in a slash */
  constructor(address) {
    this.address = address;
    /** whether answers bring an id, by which they can be corrected */
    this.wantsIds = false;
  }

  /**
   * Read the digit in one picture.
   * @param {Blob} picture an image file
   * @param {import('./types.js').Options} [options]
   * @returns {Promise<Prediction>}
   * @throws {Rejected | ServerUnavailable}
   */
  async predict(picture, { image = false, explain = false } = {}) {
    const query = [...(image ? ['image=true'] : []), ...(explain ? ['explain=true'] : []), ...this.#ids()].join('&');
    const response = await this.#send(query ? `predict?${query}` : 'predict', picture, typeOf(picture));
    return this.#body(response, picture.size, (body) => Array.isArray(body?.probabilities));
  }

  /**
   * Read the numbers in one picture, or in a drawing.
   * @param {import('./types.js').Page} page
   * @param {number} alternatives other texts to return for each number
   * @param {AbortSignal} [signal] breaks the request off
   * @returns {Promise<import('./types.js').Reading | null>} null: this server reads single digits only
   * @throws {Rejected | ServerUnavailable}
   */
  async read(page, alternatives, signal) {
    const [body, type] = page instanceof Blob ? [page, typeOf(page)] : [JSON.stringify(page), JSON_TYPE];
    const query = [`alternatives=${alternatives}`, ...this.#ids()].join('&');
    const response = await this.#send(`read?${query}`, body, type, signal);
    if (NO_ROUTE.includes(response.status)) return null;
    return this.#body(response, body instanceof Blob ? body.size : body.length, (answer) => Array.isArray(answer?.numbers));
  }

  #ids() {
    return this.wantsIds ? ['feedback=true'] : [];
  }

  /**
   * @param {string} path
   * @param {Blob | string} body
   * @param {string} type of its content
   * @param {AbortSignal} [signal]
   */
  #send(path, body, type, signal) {
    return this.#fetch(path, PREDICT_TIMEOUT, { method: 'POST', body, headers: { 'Content-Type': type }, signal });
  }

  /**
   * @param {Response} response
   * @param {number} size bytes that were sent
   * @param {(body: any) => boolean} isAnswer
   */
  async #body(response, size, isAnswer) {
    const body = await json(response);
    if (response.ok && isAnswer(body)) return body;
    const { status } = response;
    const wait = Number(response.headers.get('Retry-After')) || 0;
    const reason = text.problem(body ?? {}, status, size, wait) ?? `${status} ${response.statusText}`.trim();
    const isTemporary = response.ok || status >= 500 || status === 429 || status === 408;
    throw isTemporary ? new ServerUnavailable(reason) : new Rejected(reason, FINAL.includes(status));
  }

  /**
   * Whether the server is there and ready.
   * @returns {Promise<boolean>}
   */
  async isReady() {
    try {
      const response = await this.#fetch('ready', PROBE_TIMEOUT);
      // A static host may answer any address with a page of its own.
      return response.ok && (await json(response))?.status === 'ready';
    } catch {
      return false;
    }
  }

  /**
   * Which model the server runs; null if it does not say.
   * @returns {Promise<import('./types.js').ModelInfo | null>}
   */
  async model() {
    try {
      const response = await this.#fetch('model', PROBE_TIMEOUT);
      return response.ok ? toModelInfo(await json(response), this.address) : null;
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
      // Browsers without `any` let a request go on that nobody waits for any more.
      const either = (init?.signal && AbortSignal.any?.([signal, init.signal])) ?? signal;
      return await fetch(new URL(path, this.address), { ...init, signal: either });
    } catch {
      throw new ServerUnavailable(signal.aborted ? text.noAnswer(timeout / 1000) : text.notReached);
    }
  }
}

/**
 * Anything that does not call itself an image is sent as bytes: the server detects the format.
 * @param {Blob} picture
 */
const typeOf = ({ type }) => (type.startsWith('image/') ? type : 'application/octet-stream');

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
