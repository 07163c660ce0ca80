/** The page: makes its parts and ties them together. */

import { AnswerView } from './answer.js';
import { Batch } from './batch.js';
import { Follower, Link } from './follow.js';
import { Pad } from './pad.js';
import { picture } from './paint.js';
import { Refused, ServerReader, Unavailable, serverAddress } from './reader.js';
import { Drawing } from './strokes.js';
import { BatchTable } from './table.js';
import { fillTexts, text } from './text.js';

/**
 * The element with this id, which the page is known to have.
 * @template {typeof HTMLElement} T
 * @param {string} id
 * @param {T} kind
 * @returns {InstanceType<T>}
 */
function find(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`index.html has no ${kind.name} with the id ${id}`);
  return /** @type {InstanceType<T>} */ (element);
}

/** @param {string} id */
const button = (id) => find(id, HTMLButtonElement);

fillTexts(document);
const status = find('status', HTMLElement);
try {
  start(new ServerReader(serverAddress(document)));
} catch (error) {
  say('down', text.broken(error instanceof Error ? error.message : String(error)));
}

/**
 * @param {'connecting' | 'up' | 'down' | 'hint'} state
 * @param {string} words
 */
function say(state, words) {
  status.dataset.state = state;
  if (status.textContent !== words) status.textContent = words;
}

/** @param {ServerReader} reader */
function start(reader) {
  const drawing = new Drawing();
  const penWidth = find('pen-width', HTMLInputElement);
  const pad = new Pad(find('pad', HTMLCanvasElement), drawing, () => penWidth.valueAsNumber);
  const sheet = find('sheet', HTMLElement);
  const seenPanel = find('seen-panel', HTMLDetailsElement);
  const view = answerView();
  const link = new Link(() => reader.ready());
  const follower = new Follower({ ask: readDrawing, answered, failed });
  const batch = new Batch((file) => reader.read(file));

  async function readDrawing() {
    const png = await picture(drawing.strokes);
    return png && reader.read(png, { seen: seenPanel.open });
  }

  /** @param {import('./reader.js').Answer | null} answer null when all ink lies beside the pad */
  function answered(answer) {
    if (!answer) return view.say(text.blank);
    link.worked();
    view.show(answer);
  }

  /** @param {unknown} error */
  function failed(error) {
    if (error instanceof Unavailable) {
      link.failed();
    } else {
      if (error instanceof Refused) link.worked();
      say('down', text.refused(error instanceof Error ? error.message : String(error)));
    }
    if (!drawing.isEmpty) view.say(link.state === 'down' ? text.awayMore : '');
  }

  /** @param {boolean} grown rather than changed into another drawing */
  function follow(grown) {
    showTools();
    if (status.dataset.state !== link.state) showLink();
    if (drawing.isEmpty) {
      follower.stop();
      return view.say(text.waiting);
    }
    if (link.state === 'down') return view.say(text.awayMore);
    view.expect();
    if (grown) follower.grown();
    else follower.changed();
  }

  function predict() {
    if (!drawing.isEmpty) {
      link.hurry();
      return follow(false);
    }
    say('hint', text.drawFirst);
    const shake = ['none', 'translateX(-5px)', 'translateX(5px)', 'none'];
    if (!reducedMotion()) sheet.animate({ transform: shake }, { duration: 220 });
  }

  function showTools() {
    const { isEmpty, canUndo, canRedo } = drawing;
    sheet.classList.toggle('blank', isEmpty);
    button('clear').disabled = isEmpty;
    button('undo').disabled = !canUndo;
    button('redo').disabled = !canRedo;
  }

  function showLink() {
    if (link.state === 'up') say('up', text.ready);
    if (link.state === 'down') say('down', text.away);
  }

  pad.addEventListener('ink', () => follow(true));
  pad.addEventListener('edit', () => follow(false));
  link.addEventListener('change', showLink);
  link.addEventListener('back', () => {
    if (drawing.isEmpty && batch.isSettled) return link.worked();
    if (!drawing.isEmpty) follower.changed();
    batch.resume();
  });
  batch.addEventListener('answered', () => link.worked());
  batch.addEventListener('unanswered', () => link.failed());

  button('undo').addEventListener('click', () => pad.undo());
  button('redo').addEventListener('click', () => pad.redo());
  button('clear').addEventListener('click', () => pad.clear());
  button('predict').addEventListener('click', predict);
  seenPanel.addEventListener('toggle', () => seenPanel.open && !drawing.isEmpty && follow(false));
  takeShortcuts({ undo: () => pad.undo(), redo: () => pad.redo(), clear: () => pad.clear(), predict });
  choosePaper(sheet, pad);
  showFiles(batch);
  nameModel(link, reader);
  showTools();
  view.say(text.waiting);
  say('connecting', text.connecting);
  window.addEventListener('online', () => link.hurry());
  document.addEventListener('visibilitychange', () => document.hidden || link.hurry());
  link.probe();
}

function answerView() {
  return new AnswerView({
    panel: find('answer', HTMLElement),
    digit: find('digit', HTMLElement),
    confidence: find('confidence', HTMLElement),
    runnerUp: find('runner-up', HTMLElement),
    bars: find('bars', HTMLElement),
    seen: find('seen', HTMLCanvasElement),
    seenText: find('seen-text', HTMLElement),
    speech: find('speech', HTMLElement),
  });
}

/**
 * Say which model answers, once the server is there.
 * @param {Link} link
 * @param {ServerReader} reader
 */
function nameModel(link, reader) {
  find('api', HTMLAnchorElement).href = new URL('docs', reader.address).href;
  link.addEventListener('change', async () => {
    const model = link.state === 'up' ? await reader.model() : null;
    if (model?.name) find('model', HTMLElement).textContent = text.readBy(model.name);
  });
}

/** @param {Batch} batch */
function showFiles(batch) {
  const section = find('results', HTMLElement);
  new BatchTable(batch, {
    section,
    body: find('rows', HTMLTableSectionElement),
    progress: find('progress', HTMLElement),
    save: button('save'),
    clear: button('clear-files'),
  });
  takeFiles((files) => {
    batch.add(files);
    section.scrollIntoView({ block: 'nearest', behavior: reducedMotion() ? 'auto' : 'smooth' });
  });
}

function reducedMotion() {
  return matchMedia('(prefers-reduced-motion: reduce)').matches;
}

/**
 * Files that are chosen, dropped anywhere or pasted.
 * @param {(files: Iterable<File>) => void} add
 */
function takeFiles(add) {
  const input = find('upload', HTMLInputElement);
  input.addEventListener('change', () => {
    add([...(input.files ?? [])]);
    input.value = ''; // so that the same file can be chosen again
  });
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

/**
 * Keys without a character of their own only, which no dictation or screen reader claims.
 * @param {Record<'undo' | 'redo' | 'clear' | 'predict', () => void>} actions
 */
function takeShortcuts(actions) {
  document.addEventListener('keydown', (event) => {
    const action = actionOf(event);
    if (!action) return;
    event.preventDefault();
    actions[action]();
  });
  const mac = /Mac|iPhone|iPad/.test(navigator.platform);
  const items = text.shortcuts(mac).map(({ name, keys }) => {
    const item = document.createElement('li');
    item.append(...keys.map((key) => Object.assign(document.createElement('kbd'), { textContent: key })), ` ${name}`);
    return item;
  });
  find('shortcuts', HTMLElement).replaceChildren(...items);
}

/** @param {KeyboardEvent} event */
function actionOf(event) {
  const command = event.ctrlKey || event.metaKey;
  const key = event.key.toLowerCase();
  if (command && !event.altKey && key === 'z') return event.shiftKey ? 'redo' : 'undo';
  if (command && !event.altKey && !event.shiftKey && key === 'y') return 'redo';
  if (command || event.altKey || event.shiftKey) return null;
  if (key === 'delete' || key === 'backspace') return 'clear';
  // On a control, Enter is the control's.
  return key === 'enter' && event.target === document.body ? 'predict' : null;
}

/**
 * Paper as dark as the page, until one is chosen.
 * @param {HTMLElement} sheet
 * @param {Pad} pad
 */
function choosePaper(sheet, pad) {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const toggle = button('paper');
  let chosen = false;
  const use = (/** @type {boolean} */ isDark) => {
    sheet.dataset.paper = isDark ? 'dark' : 'light';
    toggle.setAttribute('aria-pressed', String(isDark));
    pad.redraw();
  };
  toggle.addEventListener('click', () => {
    chosen = true;
    use(sheet.dataset.paper !== 'dark');
  });
  dark.addEventListener('change', () => chosen || use(dark.matches));
  use(dark.matches);
}
