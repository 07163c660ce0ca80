/** About: which model answers, and how to ask it for oneself. */

import { text } from './text.js';

/** @typedef {import('./reader.js').Model} Model */

const COPIED_FOR = 2_000; // milliseconds that the button says so

/** The panel that tells of the model, and the curl line for the drawing on the pad. */
export class AboutPanel {
  /**
   * @param {object} elements
   * @param {HTMLDetailsElement} elements.panel
   * @param {HTMLElement} elements.facts a description list
   * @param {HTMLAnchorElement} elements.card
   * @param {HTMLElement} elements.curl
   * @param {HTMLButtonElement} elements.copy
   * @param {URL | null} server that the curl line asks; null: there is none
   */
  constructor(elements, server) {
    this.elements = elements;
    this.server = server;
    elements.copy.addEventListener('click', () => this.#copy());
    this.show(null, '');
  }

  get isOpen() {
    return this.elements.panel.open;
  }

  /**
   * @param {Model | null} model null while none is known
   * @param {string} where it reads
   */
  show(model, where) {
    const { facts, card } = this.elements;
    card.hidden = !model;
    if (!model) return facts.replaceChildren(...fact(text.aboutModel, text.aboutNothing));
    card.href = model.card ?? new URL('model.json', document.baseURI).href;
    const [set, measured] = Object.entries(model.metrics ?? {}).find(([name]) => name === 'mnist') ?? [];
    facts.replaceChildren(
      ...fact(text.aboutModel, text.modelNamed(model.name, model.network, model.parameters)),
      ...fact(text.aboutVersion, [model.inkdigits, model.sha256?.slice(0, 12)].filter(Boolean).join(', ')),
      ...(set && measured?.accuracy ? fact(text.aboutAccuracy, text.accuracy(measured.accuracy, set)) : []),
      ...fact(text.aboutWhere, where),
    );
  }

  /** @param {Blob | null} png the drawing; null when there is none */
  async showCurl(png) {
    if (!this.server) return;
    const address = new URL('predict', this.server).href;
    const ask = `curl -H 'Content-Type: image/png' --data-binary @${png ? '-' : 'digit.png'} '${address}'`;
    this.elements.curl.textContent = png ? `echo ${await base64(png)} | base64 -d | ${ask}` : ask;
  }

  async #copy() {
    const { curl, copy } = this.elements;
    try {
      await navigator.clipboard.writeText(curl.textContent ?? '');
      copy.textContent = text.copied;
    } catch {
      getSelection()?.selectAllChildren(curl);
      copy.textContent = text.notCopied;
    }
    setTimeout(() => (copy.textContent = text.copy), COPIED_FOR);
  }
}

/**
 * @param {string} name
 * @param {string} value
 */
function fact(name, value) {
  const [term, description] = [document.createElement('dt'), document.createElement('dd')];
  term.textContent = name;
  description.textContent = value;
  return [term, description];
}

/** @param {Blob} blob */
async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}
