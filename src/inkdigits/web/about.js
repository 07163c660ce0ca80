/** About: which model answers, and how to ask it for oneself. */

import { text } from './text.js';

/** @typedef {import('./reader.js').Model} Model */

const COPIED_FOR = 2_000; // milliseconds that the button says so
const FIGURES = /\/model\.json$/; // what stands in the place of a model card, where the model has none

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
    card.href = model.card;
    card.textContent = FIGURES.test(model.card) ? text.figures : text.card;
    const sets = Object.entries(model.metrics ?? {});
    const read = sets.flatMap(([set, { accuracy, n }]) => (accuracy && n ? text.accuracy(accuracy, n, set) : []));
    facts.replaceChildren(
      ...fact(text.aboutModel, text.modelNamed(model.name, model.network, model.parameters)),
      ...fact(text.aboutVersion, [model.inkdigits, model.sha256?.slice(0, 12)].filter(Boolean).join(', ')),
      ...(model.created ? fact(text.aboutTrained, text.date(model.created)) : []),
      ...(read.length ? fact(text.aboutRead, ...read) : []),
      ...fact(text.aboutNoDigit, model.threshold == null ? text.takesForDigit : text.refusesIt),
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
 * A term and what is said of it.
 * @param {string} name
 * @param {string[]} values
 */
const fact = (name, ...values) => [element('dt', name), ...values.map((value) => element('dd', value))];

/**
 * @param {'dt' | 'dd'} kind
 * @param {string} content
 */
function element(kind, content) {
  return Object.assign(document.createElement(kind), { textContent: content });
}

/** @param {Blob} blob */
async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}
