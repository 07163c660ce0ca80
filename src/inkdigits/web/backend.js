/**
 * Which backend reads: the server or this device. The device reads when it is switched on, when there is no server, and
 * as fallback while the server is away.
 */

import { Connection } from './follow.js';
import { DeviceUnavailable, Rejected, ServerUnavailable, isDigit, isNumber, messageOf } from './result.js';
import { text } from './strings.js';

/** @typedef {import('./types.js').Options} Options */
/** @typedef {import('./types.js').Prediction} Prediction */
/** @typedef {import('./device-backend.js').DeviceBackend} DeviceBackend */
/** @typedef {import('./server-backend.js').ServerBackend} ServerBackend */

const ALTERNATIVES = 4; // other texts of a number that are shown

/** Events: `change` when the other backend reads or its state changed; `back` when a failed request can be repeated. */
export class Backend extends EventTarget {
  #isChosen = false;
  #isFallback = false;
  #hasTried = false;
  /** @type {DeviceBackend | null} null until it is wanted: it is fetched then */
  #device = null;
  /** why the device cannot read; empty while it can or is not known to */
  fault = '';

  /**
   * @param {ServerBackend | null} server null: there is none
   * @param {boolean} hasDevice whether the device's runtime can be fetched
   */
  constructor(server, hasDevice) {
    super();
    this.server = server;
    this.hasDevice = hasDevice || !server;
    this.connection = new Connection(async () => (await server?.isReady()) ?? false);
    this.connection.addEventListener('change', () => {
      if (this.connection.state === 'up') this.#isFallback = this.#hasTried = false;
      this.#changed();
    });
    this.connection.addEventListener('back', () => {
      // The server is ready but has not answered yet: should it fail again, the device takes over again.
      this.#isFallback = this.#hasTried = false;
      this.#back();
    });
    this.connection.addEventListener('gone', () => this.#fallBack());
  }

  /** Whether this device reads now. */
  get onDevice() {
    return this.#isChosen || !this.server || this.#isFallback;
  }

  /** Whether this device reads only because the server is away. */
  get isFallback() {
    return this.#isFallback && !this.#isChosen;
  }

  /** Whether this device has all that reading takes. */
  get isLoaded() {
    return this.#device?.isLoaded === true;
  }

  /** Whether neither can read now. */
  get isAway() {
    return this.onDevice ? this.fault !== '' : this.connection.state === 'down';
  }

  /**
   * Switch reading on this device on or off.
   * @param {boolean} on
   */
  async choose(on) {
    this.#isChosen = on;
    this.fault = '';
    this.#changed();
    if (!this.onDevice) return this.connection.probe();
    await this.#loadDevice();
    this.#changed();
    if (this.onDevice && !this.fault) this.#back();
  }

  /** Look for the server, unless the device reads. */
  async start() {
    if (!this.onDevice) await this.connection.probe();
  }

  /** Look for the server now. */
  retryNow() {
    if (this.server && !this.#isChosen) this.connection.retryNow();
  }

  /**
   * Read one picture: the digit or, if it is not accepted as one or its strokes may be several, the numbers.
   * @param {Blob} picture
   * @param {Options} [options]
   * @param {(prediction: Prediction) => Promise<import('./types.js').Page | null>} [larger] gives the strokes of the
   *   same picture, or it at a resolution that keeps numbers legible; null if it cannot be numbers
   * @param {AbortSignal} [signal] ends reading an accepted digit as numbers
   * @returns {Promise<Prediction>}
   */
  async read(picture, options, larger = async (prediction) => (isDigit(prediction) ? null : picture), signal) {
    const prediction = await this.#ask((backend) => backend.predict(picture, options));
    if (prediction.digit === null) return prediction;
    const page = await larger(prediction);
    if (!page) return prediction;
    const reading = isDigit(prediction)
      ? await this.#attempt((backend) => backend.read(page, ALTERNATIVES, signal))
      : await this.#ask((backend) => backend.read(page, ALTERNATIVES));
    if (!reading || !isNumber(reading, prediction)) return prediction;
    return { ...prediction, is_digit: false, reason: prediction.reason ?? 'several digits', reading };
  }

  /**
   * What reads on this device, fetched if need be.
   * @throws {DeviceUnavailable}
   */
  async network() {
    return (await this.#getDevice()).load();
  }

  /** @returns {Promise<import('./types.js').ModelInfo | null>} the model that reads */
  async model() {
    return this.onDevice || !this.server ? (this.#device?.model() ?? null) : this.server.model();
  }

  /**
   * @template T
   * @param {(backend: ServerBackend | DeviceBackend) => Promise<T>} request
   */
  async #ask(request) {
    if (this.onDevice || !this.server) return this.#askDevice(request);
    try {
      const answer = await request(this.server);
      this.connection.worked();
      return answer;
    } catch (error) {
      if (error instanceof Rejected) this.connection.worked();
      if (error instanceof ServerUnavailable) this.connection.failed();
      throw error;
    }
  }

  /**
   * Ask for what the answer does not depend on: a failure says nothing, of the connection either.
   * @template T
   * @param {(backend: ServerBackend | DeviceBackend) => Promise<T>} request
   * @returns {Promise<T | null>} null if it failed
   */
  async #attempt(request) {
    try {
      return await request(this.onDevice || !this.server ? await this.#getDevice() : this.server);
    } catch (error) {
      const isKnown = [Rejected, ServerUnavailable, DeviceUnavailable].some((kind) => error instanceof kind);
      if (!isKnown) reportError(error);
      return null;
    }
  }

  /**
   * @template T
   * @param {(backend: DeviceBackend) => Promise<T>} request
   */
  async #askDevice(request) {
    try {
      return await request(await this.#getDevice());
    } catch (error) {
      // The server, when it is back, may know formats that this browser does not.
      if (error instanceof Rejected && this.isFallback) throw new Rejected(error.message, false);
      throw error;
    }
  }

  async #getDevice() {
    if (!this.#device) {
      let module;
      try {
        module = await import('./device-backend.js');
      } catch {
        throw new DeviceUnavailable(text.notFetched('device-backend.js'));
      }
      this.#device ??= new module.DeviceBackend();
    }
    return this.#device;
  }

  async #loadDevice() {
    try {
      await (await this.#getDevice()).load();
      this.fault = '';
    } catch (error) {
      this.fault = messageOf(error);
    }
  }

  async #fallBack() {
    if (!this.hasDevice || this.#isChosen || this.#isFallback || this.#hasTried) return;
    this.#hasTried = true; // once an outage
    await this.#loadDevice();
    const canRead = !this.fault;
    this.fault = '';
    if (!canRead || this.connection.state !== 'down') return;
    this.#isFallback = true;
    this.#changed();
    this.#back();
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }

  #back() {
    this.dispatchEvent(new Event('back'));
  }
}
