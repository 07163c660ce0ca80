/** Where corrections begin: the button "Wrong?", the key W, a tap on a bar. What they do is fetched when it is wanted. */

import { button, find } from './controls.js';
import { DeviceUnavailable } from './result.js';
import { savedSetting } from './storage.js';
import { text } from './strings.js';

/** @typedef {import('./hand/correction.js').Correction} Correction */
/** @typedef {import('./app.js').Read} Read */

const STYLE = 'hand.css';

/** Knows what can be corrected. */
export class Correcting {
  /** @type {Read | null} */
  #read = null;
  /** @type {Correction | null} */
  #loaded = null;
  /** @type {Promise<Correction> | null} */
  #loading = null;

  /**
   * @param {import('./hand/correction.js').Context} context
   * @param {(error: unknown) => void} failed what it takes cannot be fetched
   */
  constructor(context, failed) {
    this.context = context;
    this.failed = failed;
    button('wrong').addEventListener('click', () => this.open());
    find('bars', HTMLElement).addEventListener('click', ({ target }) => {
      const bar = target instanceof Element ? target.closest('li') : null;
      const digit = bar ? [...(bar.parentElement?.children ?? [])].indexOf(bar) : -1;
      if (this.#read && digit >= 0) this.#with((loaded) => loaded.correct(digit));
    });
    const panel = find('hand-panel', HTMLDetailsElement);
    panel.addEventListener('toggle', () => panel.open && this.#with(() => {}));
    const isWanted = savedSetting('hand') === 'true' || savedSetting('feedback') === 'yes';
    if (isWanted) this.#with(() => {});
  }

  /** Ask what it was. */
  open() {
    if (this.#read) this.#with((loaded) => loaded.open());
  }

  /** @param {Read | null} read the answer that is shown; null: there is none */
  show(read) {
    this.#read = read?.answer.digit == null ? null : read;
    button('wrong').disabled = !this.#read;
    this.#loaded?.show(this.#read);
  }

  /** Show what the drawing is read as, even if it was corrected. */
  forget() {
    this.#loaded?.forget();
  }

  /** The drawing has changed. */
  close() {
    this.#loaded?.close();
  }

  /** @param {(loaded: Correction) => void} act */
  async #with(act) {
    try {
      this.#loading ??= this.#load();
      act(await this.#loading);
    } catch (error) {
      this.#loading = null;
      this.failed(error);
    }
  }

  async #load() {
    const style = Object.assign(document.createElement('link'), { rel: 'stylesheet', href: STYLE });
    const isStyled = new Promise((resolve, reject) => Object.assign(style, { onload: resolve, onerror: reject }));
    document.head.append(style);
    const [module] = await Promise.all([import('./hand/correction.js'), isStyled]).catch(() => {
      style.remove();
      throw new DeviceUnavailable(text.notFetched('hand/correction.js'));
    });
    const loaded = new module.Correction(this.context);
    this.#loaded = loaded;
    loaded.show(this.#read);
    await loaded.start();
    return loaded;
  }
}
