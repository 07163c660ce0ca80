/** Controls: elements by id, toggle buttons, files, keyboard shortcuts and the paper's color. */

import { saveSetting, savedSetting } from './storage.js';
import { text } from './strings.js';

const COPIED_FOR = 2_000; // milliseconds that a button says so

/**
 * Return the element with this id.
 * @template {typeof HTMLElement} T
 * @param {string} id
 * @param {T} kind
 * @returns {InstanceType<T>}
 */
export function find(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`index.html has no ${kind.name} with the id ${id}`);
  return /** @type {InstanceType<T>} */ (element);
}

/**
 * Create an element.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Partial<HTMLElementTagNameMap[T]>} [properties]
 */
export const element = (tag, properties) => Object.assign(document.createElement(tag), properties);

/** @param {string} id */
export const button = (id) => find(id, HTMLButtonElement);

export const reducedMotion = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

/**
 * Make a button one that is on or off.
 * @param {HTMLButtonElement} toggle
 * @param {(on: boolean) => void} act
 * @returns {(on: boolean) => void} turns it on or off
 */
export function makeToggle(toggle, act) {
  const use = (/** @type {boolean} */ on) => {
    toggle.setAttribute('aria-pressed', String(on));
    act(on);
  };
  toggle.addEventListener('click', () => use(toggle.getAttribute('aria-pressed') !== 'true'));
  return use;
}

/**
 * Copy text, and say so on the button; where the browser does not allow it, select what is shown.
 * @param {HTMLButtonElement} pressed
 * @param {string} name that the button has again after a while
 * @param {string} words
 * @param {HTMLElement} shown
 */
export async function copyText(pressed, name, words, shown) {
  try {
    await navigator.clipboard.writeText(words);
    pressed.textContent = text.copied;
  } catch {
    getSelection()?.selectAllChildren(shown);
    pressed.textContent = text.notCopied;
  }
  setTimeout(() => (pressed.textContent = name), COPIED_FOR);
}

/**
 * Take files that are chosen, photographed, dropped anywhere or pasted.
 * @param {(files: Iterable<File>) => void} add
 */
export function listenForFiles(add) {
  for (const input of [find('upload', HTMLInputElement), find('photo', HTMLInputElement)]) {
    input.addEventListener('change', () => {
      add([...(input.files ?? [])]);
      input.value = ''; // so that the same file can be chosen again
    });
  }
  document.addEventListener('paste', (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) add(files);
  });
  const curtain = find('curtain', HTMLElement);
  const carriesFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes('Files');
  document.addEventListener('dragover', (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    curtain.hidden = false;
  });
  document.addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) curtain.hidden = true;
  });
  document.addEventListener('drop', (event) => {
    curtain.hidden = true;
    if (!carriesFiles(event)) return;
    event.preventDefault();
    add([...(event.dataTransfer?.files ?? [])]);
  });
}

/** @typedef {'undo' | 'redo' | 'clear' | 'erase' | 'predict' | 'wrong'} Action */

/**
 * Take keys that no dictation software or screen reader uses; letters only if the pad has the focus, or nothing has.
 * @param {Record<Action, () => void>} actions
 */
export function listenForShortcuts(actions) {
  document.addEventListener('keydown', (event) => {
    const action = actionOf(event);
    if (!action) return;
    event.preventDefault();
    actions[action]();
  });
  const mac = /Mac|iPhone|iPad/.test(navigator.platform);
  const items = text.shortcuts(mac).map(({ name, keys }) => {
    const item = element('li');
    item.append(...keys.map((key) => element('kbd', { textContent: key })), ` ${name}`);
    return item;
  });
  find('shortcuts', HTMLElement).replaceChildren(...items);
}

/**
 * @param {KeyboardEvent} event
 * @returns {Action | null}
 */
function actionOf(event) {
  if (event.target instanceof HTMLTextAreaElement) return null;
  const command = event.ctrlKey || event.metaKey;
  const key = event.key.toLowerCase();
  if (command && !event.altKey && key === 'z') return event.shiftKey ? 'redo' : 'undo';
  if (command && !event.altKey && !event.shiftKey && key === 'y') return 'redo';
  if (command || event.altKey || event.shiftKey) return null;
  if (key === 'delete' || key === 'backspace') return 'clear';
  // On a control, Enter and letters belong to the control.
  if (event.target !== document.body && !(event.target instanceof HTMLCanvasElement)) return null;
  return key === 'enter' ? 'predict' : key === 'e' ? 'erase' : key === 'w' ? 'wrong' : null;
}

/**
 * Let the paper follow the page's color scheme until one is chosen.
 * @param {HTMLElement} sheet
 * @param {import('./pad.js').Pad} pad
 */
export function setUpPaper(sheet, pad) {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  let kept = savedSetting('paper');
  const use = makeToggle(button('paper'), (isDark) => {
    sheet.dataset.paper = isDark ? 'dark' : 'light';
    pad.redraw();
  });
  button('paper').addEventListener('click', () => {
    kept = sheet.dataset.paper ?? null;
    saveSetting('paper', kept ?? '');
  });
  dark.addEventListener('change', () => kept || use(dark.matches));
  use(kept ? kept === 'dark' : dark.matches);
}
