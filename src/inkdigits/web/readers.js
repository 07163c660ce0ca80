/**
 * Readers: which one answers, the server or this device. The device answers when it is switched on, where there is no
 * server at all, and in the place of a server that is away.
 */

import { Link } from './follow.js';
import { Missing, Refused, Unavailable } from './reader.js';
import { text } from './text.js';

/** @typedef {import('./reader.js').Answer} Answer */
/** @typedef {import('./reader.js').ServerReader} ServerReader */
/** @typedef {import('./device.js').DeviceReader} DeviceReader */

/**
 * Events: `change` when another one answers or its state changed; `back` when what failed can be asked anew.
 */
export class Readers extends EventTarget {
  #isChosen = false;
  #standsIn = false;
  #hasTried = false;
  /** @type {DeviceReader | null} null until it is wanted: it is fetched then */
  #device = null;
  /** why the device cannot read; empty while it can or is not known to */
  fault = '';

  /**
   * @param {ServerReader | null} server null: there is none
   * @param {boolean} hasDevice whether what reads on this device can be fetched
   */
  constructor(server, hasDevice) {
    super();
    this.server = server;
    this.hasDevice = hasDevice || !server;
    this.link = new Link(async () => (await server?.ready()) ?? false);
    this.link.addEventListener('change', () => this.#linkChanged());
    this.link.addEventListener('back', () => this.#serverIsBack());
    this.link.addEventListener('gone', () => this.#standIn());
  }

  /** Whether this device answers now. */
  get onDevice() {
    return this.#isChosen || !this.server || this.#standsIn;
  }

  /** Whether this device answers only because the server is away. */
  get standsIn() {
    return this.#standsIn && !this.#isChosen;
  }

  /** Whether this device has all that reading takes. */
  get isLoaded() {
    return this.#device?.isLoaded === true;
  }

  /** Whether nobody answers now: asking is no use. */
  get isAway() {
    return this.onDevice ? this.fault !== '' : this.link.state === 'down';
  }

  /**
   * Switch reading on this device on or off.
   * @param {boolean} on
   */
  async choose(on) {
    this.#isChosen = on;
    this.fault = '';
    this.#changed();
    if (!this.onDevice) return this.link.probe();
    await this.#loadDevice();
    this.#changed();
    if (this.onDevice && !this.fault) this.dispatchEvent(new Event('back'));
  }

  /** Find out whether there is a server, or get the device ready. */
  async start() {
    if (!this.onDevice) await this.link.probe();
  }

  /** Look for the server now. */
  hurry() {
    if (this.server && !this.#isChosen) this.link.hurry();
  }

  /**
   * Read the digit in one picture.
   * @param {Blob} picture
   * @param {import('./reader.js').Options} [options]
   * @returns {Promise<Answer>}
   */
  async read(picture, options) {
    if (this.onDevice || !this.server) return this.#readHere(picture, options);
    try {
      const answer = await this.server.read(picture, options);
      this.link.worked();
      return answer;
    } catch (error) {
      if (error instanceof Refused) this.link.worked();
      if (error instanceof Unavailable) this.link.failed();
      throw error;
    }
  }

  /** @returns {Promise<import('./reader.js').Model | null>} which model answers */
  async model() {
    return this.onDevice || !this.server ? (this.#device?.model() ?? null) : this.server.model();
  }

  /**
   * @param {Blob} picture
   * @param {import('./reader.js').Options} [options]
   */
  async #readHere(picture, options) {
    try {
      return await (await this.#getDevice()).read(picture, options);
    } catch (error) {
      // The server that is away may know formats that this browser does not.
      if (error instanceof Refused && this.standsIn) throw new Refused(error.message, false);
      throw error;
    }
  }

  async #getDevice() {
    if (!this.#device) {
      let module;
      try {
        module = await import('./device.js');
      } catch (error) {
        throw new Missing(text.notFetched('device.js', error instanceof Error ? error.message : String(error)));
      }
      this.#device ??= new module.DeviceReader();
    }
    return this.#device;
  }

  async #loadDevice() {
    try {
      await (await this.#getDevice()).load();
      this.fault = '';
    } catch (error) {
      this.fault = error instanceof Error ? error.message : String(error);
    }
  }

  async #standIn() {
    if (!this.hasDevice || this.#isChosen || this.#standsIn || this.#hasTried) return;
    this.#hasTried = true; // once an outage
    await this.#loadDevice();
    const canRead = !this.fault;
    this.fault = '';
    if (!canRead || this.link.state !== 'down') return;
    this.#standsIn = true;
    this.#changed();
    this.dispatchEvent(new Event('back'));
  }

  #serverIsBack() {
    this.#standsIn = false;
    // It is ready, but not known to answer: should it fail again, the device takes its place again.
    this.#hasTried = false;
    this.dispatchEvent(new Event('back'));
  }

  #linkChanged() {
    if (this.link.state === 'up') this.#standsIn = this.#hasTried = false;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }
}
