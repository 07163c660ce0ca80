/**
 * Which backend reads: the server or this device. The device reads when it is switched on, when there is no server, and
 * as fallback while the server is away.
 */

import { Connection } from './follow.js';
import { DeviceUnavailable, Rejected, ServerUnavailable, messageOf } from './result.js';
import { text } from './strings.js';

/** @typedef {import('./result.js').Options} Options */
/** @typedef {import('./result.js').Prediction} Prediction */
/** @typedef {import('./device-backend.js').DeviceBackend} DeviceBackend */

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
   * @param {import('./server-backend.js').ServerBackend | null} server null: there is none
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
   * Read the digit in one picture.
   * @param {Blob} picture
   * @param {Options} [options]
   * @returns {Promise<Prediction>}
   */
  async predict(picture, options) {
    if (this.onDevice || !this.server) return this.#predictHere(picture, options);
    try {
      const prediction = await this.server.predict(picture, options);
      this.connection.worked();
      return prediction;
    } catch (error) {
      if (error instanceof Rejected) this.connection.worked();
      if (error instanceof ServerUnavailable) this.connection.failed();
      throw error;
    }
  }

  /** @returns {Promise<import('./result.js').ModelInfo | null>} the model that reads */
  async model() {
    return this.onDevice || !this.server ? (this.#device?.model() ?? null) : this.server.model();
  }

  /**
   * @param {Blob} picture
   * @param {Options} [options]
   */
  async #predictHere(picture, options) {
    try {
      return await (await this.#getDevice()).predict(picture, options);
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
