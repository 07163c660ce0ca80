/** The panel "Your hand", and the question that is asked once: what may be done with corrections. */

import { button, element, find } from '../controls.js';
import { messageOf } from '../result.js';
import { text } from '../strings.js';

/**
 * @typedef {object} Choices
 * @property {boolean} hand answers follow the corrections
 * @property {boolean} feedback they are sent to the server
 */

/** Shows what is kept, and lets it be switched off, exported and erased. */
export class HandPanel {
  #state = find('hand-state', HTMLElement);
  #hand = find('hand-on', HTMLInputElement);
  #feedback = find('feedback-on', HTMLInputElement);

  /**
   * @param {import('./profile.js').Profile} profile
   * @param {object} calls
   * @param {(choices: Partial<Choices>) => void} calls.chosen a switch was turned
   * @param {() => Promise<void>} calls.erase
   */
  constructor(profile, { chosen, erase }) {
    this.#hand.addEventListener('change', () => chosen({ hand: this.#hand.checked }));
    this.#feedback.addEventListener('change', () => chosen({ feedback: this.#feedback.checked }));
    button('hand-erase').addEventListener('click', async () => {
      await erase();
      this.#state.textContent = text.erased;
    });
    button('hand-export').addEventListener('click', () => {
      const link = element('a', { href: URL.createObjectURL(profile.export()), download: text.handFile });
      link.click();
      URL.revokeObjectURL(link.href);
    });
    const file = find('hand-import', HTMLInputElement);
    file.addEventListener('change', async () => {
      const [chosenFile] = file.files ?? [];
      file.value = '';
      try {
        if (chosenFile) await profile.import(chosenFile);
      } catch (error) {
        this.#state.textContent = messageOf(error);
      }
    });
  }

  /**
   * @param {string} state of the hand, in words
   * @param {Choices} choices
   * @param {{canAdapt: boolean, canSend: boolean, isEmpty: boolean}} can
   */
  show(state, { hand, feedback }, { canAdapt, canSend, isEmpty }) {
    this.#state.textContent = state;
    this.#hand.checked = hand;
    this.#hand.disabled = !canAdapt;
    find('feedback-switch', HTMLElement).hidden = !canSend;
    this.#feedback.checked = feedback;
    button('hand-export').disabled = button('hand-erase').disabled = isEmpty;
  }
}

/**
 * Ask what may be done with corrections.
 * @param {{canAdapt: boolean, canSend: boolean}} can
 * @returns {Promise<Choices>} neither if the question is closed
 */
export function askChoices({ canAdapt, canSend }) {
  const dialog = find('choices', HTMLDialogElement);
  const boxes = [
    ...(canAdapt ? [choice('hand', text.handOn, text.handOnMore)] : []),
    ...(canSend ? [choice('feedback', text.feedbackOn, text.feedbackOnMore)] : []),
  ];
  const form = element('form', { method: 'dialog' });
  const buttons = element('p', { className: 'links' });
  const save = element('button', { textContent: text.save, className: 'primary', value: 'save' });
  buttons.append(element('button', { textContent: text.neither, value: 'none' }), save);
  const title = element('h2', { textContent: text.choicesTitle });
  form.append(title, ...boxes, element('p', { textContent: text.choicesMore }), buttons);
  dialog.replaceChildren(form);
  dialog.showModal();
  return new Promise((resolve) => {
    const isChosen = (/** @type {string} */ name) =>
      dialog.returnValue === 'save' && dialog.querySelector(`[name=${name}]:checked`) !== null;
    dialog.returnValue = '';
    dialog.addEventListener('close', () => resolve({ hand: isChosen('hand'), feedback: isChosen('feedback') }), { once: true });
  });
}

/**
 * @param {string} name
 * @param {string} words
 * @param {string} more
 */
function choice(name, words, more) {
  const label = document.createElement('label');
  label.className = 'switch';
  const box = document.createElement('input');
  Object.assign(box, { type: 'checkbox', name });
  box.setAttribute('role', 'switch');
  box.dataset.testid = `choose-${name}`;
  const said = element('span');
  said.append(element('span', { textContent: words }), ' ', element('small', { textContent: more }));
  label.append(box, said);
  return label;
}
