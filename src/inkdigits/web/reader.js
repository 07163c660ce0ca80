/**
 * The reader: pictures in, answers out. It asks the server over HTTP; nothing else of the page knows how.
 */

const READ_TIMEOUT = 20_000; // milliseconds, for one picture
const PROBE_TIMEOUT = 4_000; // milliseconds, for a sign of life

/**
 * @typedef {object} Answer
 * @property {number | null} digit 0 to 9; null when the picture is blank
 * @property {number} confidence 0 to 1
 * @property {number[]} probabilities ten, of 0 to 9, that sum to 1
 * @property {number[][]} [image] what the network saw, 28 rows of 0–255, when it was asked for
 *
 * @typedef {object} Model
 * @property {string} name
 */

/** The reader looked at the picture and cannot read it; the message says why. Asking again gives the same. */
export class Refused extends Error {}

/** No answer came: the server is away, overloaded or failing. Asking again later may help. */
export class Unavailable extends Error {}

/**
 * Where the server is: `?server=` in the page's address, else `<meta name="inkdigits-server">`, else beside the page.
 * @param {Document} page
 * @returns {URL} ends in a slash
 * @throws {TypeError} the address is not one of http or https
 */
export function serverAddress(page) {
  const asked = new URL(page.location.href).searchParams.get('server');
  const meta = /** @type {HTMLMetaElement | null} */ (page.querySelector('meta[name="inkdigits-server"]'));
  const url = new URL(asked || meta?.content || '.', page.baseURI);
  if (!/^https?:$/.test(url.protocol))
    throw new TypeError(`the server's address must be http or https, not ${url.href}`);
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
   * @param {{seen?: boolean}} [options] seen: tell what the network saw as well
   * @returns {Promise<Answer>}
   * @throws {Refused | Unavailable}
   */
  async read(picture, { seen = false } = {}) {
    const response = await this.#fetch(seen ? 'predict?image=true' : 'predict', READ_TIMEOUT, {
      method: 'POST',
      body: picture,
      // Anything that does not call itself an image is sent as bytes, for the server to say what it is.
      headers: { 'Content-Type': picture.type.startsWith('image/') ? picture.type : 'application/octet-stream' },
    });
    const answer = await json(response);
    if (response.ok && Array.isArray(answer?.probabilities)) return answer;
    const reason = answer?.detail ?? answer?.title ?? `${response.status} ${response.statusText}`.trim();
    const passing = response.ok || response.status >= 500 || response.status === 429 || response.status === 408;
    throw passing ? new Unavailable(reason) : new Refused(reason);
  }

  /**
   * Whether the server is there and ready.
   * @returns {Promise<boolean>}
   */
  async ready() {
    try {
      return (await this.#fetch('ready', PROBE_TIMEOUT)).ok;
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
      return response.ok ? await json(response) : null;
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
      throw new Unavailable(signal.aborted ? `no answer within ${timeout / 1000} s` : String(error));
    }
  }
}

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
