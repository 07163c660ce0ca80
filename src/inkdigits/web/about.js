/** The About panel: which model reads, and the same request as a curl command. */

import { button, copyText, element, find } from './controls.js';
import { text } from './strings.js';

/** @typedef {import('./types.js').ModelInfo} ModelInfo */

const FIGURES = /\/model\.json$/; // linked if the model has no card

/** Shows what is known of the model, and the curl command for the drawing on the pad. */
export class AboutPanel {
  #panel = find('about', HTMLDetailsElement);
  #facts = find('facts', HTMLElement);
  #card = find('card', HTMLAnchorElement);
  #curl = find('curl', HTMLElement);

  /** @param {URL | null} server that the curl command asks; null: there is none */
  constructor(server) {
    const api = find('api', HTMLAnchorElement);
    this.server = server;
    api.hidden = find('command-line', HTMLElement).hidden = !server;
    if (server) api.href = new URL('docs', server).href;
    const copy = button('copy');
    copy.addEventListener('click', () => copyText(copy, text.copy, this.#curl.textContent ?? '', this.#curl));
    this.show(null, '');
  }

  get isOpen() {
    return this.#panel.open;
  }

  /**
   * @param {ModelInfo | null} model null while none is known
   * @param {string} where it runs
   */
  show(model, where) {
    const [facts, card] = [this.#facts, this.#card];
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
      ...(read.length ? fact(text.aboutAccuracy, ...read) : []),
      ...fact(text.aboutNonDigits, model.threshold == null ? text.notRejected : text.rejected),
      ...(model.guarantee ? fact(text.aboutGuarantee, text.guarantee(model.guarantee)) : []),
      ...fact(text.aboutRuns, where),
    );
  }

  /** @param {Blob | null} png the drawing; null when there is none */
  async showCurl(png) {
    if (!this.server) return;
    const address = new URL('predict', this.server).href;
    const ask = `curl -H 'Content-Type: image/png' --data-binary @${png ? '-' : 'digit.png'} '${address}'`;
    this.#curl.textContent = png ? `echo ${await base64(png)} | base64 -d | ${ask}` : ask;
  }
}

/**
 * A term and its descriptions.
 * @param {string} name
 * @param {string[]} values
 */
const fact = (name, ...values) => [
  element('dt', { textContent: name }),
  ...values.map((textContent) => element('dd', { textContent })),
];

/** @param {Blob} blob */
async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}
