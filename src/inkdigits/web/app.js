/** The page: makes its parts and ties them together. */

import { AboutPanel } from './about.js';
import { AnswerView } from './answer.js';
import { Batch } from './batch.js';
import { button, choosePaper, find, reducedMotion, takeFiles, takeShortcuts, toggling } from './controls.js';
import { Follower } from './follow.js';
import { choose, chosen, keepDrawing } from './keep.js';
import { drawByKeyboard } from './keyboard.js';
import { keepDevice, workOffline } from './offline.js';
import { Pad } from './pad.js';
import { picture } from './paint.js';
import { Missing, ServerReader, Unavailable, serverAddress } from './reader.js';
import { Readers } from './readers.js';
import { Drawing } from './strokes.js';
import { BatchTable } from './table.js';
import { fillTexts, text } from './text.js';

/**
 * @typedef {object} Reading
 * @property {import('./reader.js').Answer} answer
 * @property {import('./paint.js').Picture} from
 * @property {typeof import('./explain.js').heatOf} [heatOf] when it was asked what mattered
 */

fillTexts(document);
const status = find('status', HTMLElement);
try {
  const address = serverAddress(document);
  const canSwitch = !find('device-switch', HTMLElement).hidden;
  start(new Readers(address && new ServerReader(address), canSwitch), address);
} catch (error) {
  say('down', text.broken(error instanceof Error ? error.message : String(error)));
}

/**
 * @param {'connecting' | 'up' | 'down' | 'hint'} state
 * @param {string} words
 */
function say(state, words) {
  status.dataset.state = state;
  if (status.textContent === words) return;
  // New words in a new element: to a browser that measures layout shifts, an old one would have moved.
  status.replaceChildren(Object.assign(document.createElement('span'), { textContent: words }));
}

/**
 * @param {Readers} readers
 * @param {URL | null} address of the server; null: there is none
 */
function start(readers, address) {
  const { link } = readers;
  const drawing = new Drawing();
  const penWidth = find('pen-width', HTMLInputElement);
  const eraser = button('eraser');
  const tool = () => ({ width: penWidth.valueAsNumber, erases: eraser.getAttribute('aria-pressed') === 'true' });
  const pad = new Pad(find('pad', HTMLCanvasElement), drawing, tool);
  const sheet = find('sheet', HTMLElement);
  const seenPanel = find('seen-panel', HTMLDetailsElement);
  const whyPanel = find('why-panel', HTMLDetailsElement);
  const view = answerView();
  const about = aboutPanel(address);
  const follower = new Follower({ ask: readDrawing, answered, failed, busy: (isBusy) => view.busy(isBusy) });
  const batch = new Batch((file) => readers.read(file));

  /** @returns {Promise<Reading | null>} null when all ink lies beside the pad */
  async function readDrawing() {
    const from = await picture(drawing.strokes);
    if (about.isOpen) about.showCurl(from && from.png);
    // What mattered is asked for when the pen is lifted, for it takes a hundred readings.
    const why = whyPanel.open && !drawing.isOpen;
    const explained = why ? import('./explain.js') : null;
    const answer = from && (await readers.read(from.png, { seen: seenPanel.open || why, why }));
    return answer && { from, answer, heatOf: (await explained)?.heatOf };
  }

  /** @param {Reading | null} reading */
  function answered(reading) {
    if (!reading) {
      if (!readers.onDevice) link.worked(); // nobody was asked, so nobody failed to answer
      return view.say(text.blank);
    }
    view.show(reading.answer);
    const style = getComputedStyle(whyPanel);
    const colours = { for: style.getPropertyValue('--for'), against: style.getPropertyValue('--against') };
    pad.heat = reading.heatOf && whyPanel.open ? reading.heatOf(reading.answer, reading.from, colours) : null;
  }

  /** @param {unknown} error */
  function failed(error) {
    if (!(error instanceof Unavailable || error instanceof Missing)) {
      say('down', text.refused(error instanceof Error ? error.message : String(error)));
    }
    if (!drawing.isEmpty) view.say(readers.isAway ? comfort() : '');
  }

  /** What to say to who waits while nobody answers. */
  function comfort() {
    if (!readers.onDevice) return text.awayMore;
    return address ? text.switchOff : '';
  }

  /** @param {boolean} grown rather than changed into another drawing */
  function follow(grown) {
    showTools();
    if (status.dataset.state === 'hint' || status.dataset.state === 'down') showState();
    if (drawing.isEmpty) {
      follower.stop();
      if (about.isOpen) about.showCurl(null);
      return view.say(text.waiting);
    }
    if (readers.isAway) return view.say(comfort());
    view.expect();
    if (grown) follower.grown();
    else follower.changed();
  }

  /** Ask once more about what is on the pad. */
  function again() {
    if (!drawing.isEmpty) follow(false);
  }

  function predict() {
    if (!drawing.isEmpty) {
      readers.hurry();
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

  function showState() {
    if (readers.standsIn) return say('down', text.deviceStandsIn);
    if (!readers.onDevice) {
      const words = { connecting: text.connecting, up: text.ready, down: text.away };
      return say(link.state, words[link.state]);
    }
    if (readers.fault) return say('down', text.deviceMissing(readers.fault));
    if (readers.isLoaded) say('up', text.deviceReady);
    else say('connecting', text.deviceLoading);
  }

  async function changed() {
    showState();
    if (readers.onDevice && readers.isLoaded) keepDevice();
    const model = await readers.model();
    about.show(model, readers.onDevice ? text.onThisDevice : text.onServer);
    find('model', HTMLElement).textContent = model ? text.readBy(model.name) : '';
  }

  pad.addEventListener('ink', () => follow(true));
  pad.addEventListener('edit', () => follow(false));
  pad.addEventListener('rest', () => whyPanel.open && again());
  readers.addEventListener('change', changed);
  readers.addEventListener('back', () => {
    if (drawing.isEmpty && batch.isSettled && !readers.onDevice) return link.worked();
    if (!drawing.isEmpty) follower.changed();
    batch.resume();
  });

  button('undo').addEventListener('click', () => pad.undo());
  button('redo').addEventListener('click', () => pad.redo());
  button('clear').addEventListener('click', () => pad.clear());
  button('predict').addEventListener('click', predict);
  const erase = toggling(eraser, (on) => sheet.classList.toggle('erasing', on));
  seenPanel.addEventListener('toggle', () => seenPanel.open && again());
  whyPanel.addEventListener('toggle', () => {
    pad.heat = null;
    if (whyPanel.open) again();
  });
  find('about', HTMLDetailsElement).addEventListener('toggle', async () => {
    if (about.isOpen) about.showCurl((await picture(drawing.strokes))?.png ?? null);
  });
  takeShortcuts({
    undo: () => pad.undo(),
    redo: () => pad.redo(),
    clear: () => pad.clear(),
    erase: () => erase(!tool().erases),
    predict,
  });
  choosePaper(sheet, pad);
  keepDrawing(pad);
  keepPen(penWidth);
  drawByKeyboard(pad, find('cursor', HTMLElement), (words) => (find('hand', HTMLElement).textContent = words));
  showFiles(batch);
  chooseReader(readers);
  showTools();
  view.say(drawing.isEmpty ? text.waiting : '');
  say('connecting', text.connecting);
  window.addEventListener('online', () => readers.hurry());
  document.addEventListener('visibilitychange', () => document.hidden || readers.hurry());
  workOffline(offerNew);
  readers.start();
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

/** @param {URL | null} address */
function aboutPanel(address) {
  find('api', HTMLAnchorElement).hidden = find('command-line', HTMLElement).hidden = !address;
  if (address) find('api', HTMLAnchorElement).href = new URL('docs', address).href;
  const elements = {
    panel: find('about', HTMLDetailsElement),
    facts: find('facts', HTMLElement),
    card: find('card', HTMLAnchorElement),
    curl: find('curl', HTMLElement),
    copy: button('copy'),
  };
  return new AboutPanel(elements, address);
}

/** @param {HTMLInputElement} penWidth */
function keepPen(penWidth) {
  penWidth.value = chosen('pen') ?? penWidth.value;
  penWidth.addEventListener('change', () => choose('pen', penWidth.value));
}

/**
 * The switch between server and device.
 * @param {Readers} readers
 */
function chooseReader(readers) {
  const box = find('on-device', HTMLInputElement);
  if (!readers.hasDevice) return;
  box.addEventListener('change', () => {
    choose('on-device', String(box.checked));
    readers.choose(box.checked);
  });
  if (!readers.server) box.checked = box.disabled = true;
  else if (chosen('on-device') === 'true') box.checked = true;
  if (box.checked) readers.choose(true);
}

/** @param {Batch} batch */
function showFiles(batch) {
  const section = find('results', HTMLElement);
  new BatchTable(batch, {
    section,
    body: find('rows', HTMLTableSectionElement),
    sorted: find('sorted', HTMLTableCellElement),
    progress: find('progress', HTMLElement),
    bar: find('progress-bar', HTMLProgressElement),
    save: button('save'),
    clear: button('clear-files'),
  });
  takeFiles((files) => {
    batch.add(files);
    section.scrollIntoView({ block: 'nearest', behavior: reducedMotion() ? 'auto' : 'smooth' });
  });
}

/** @param {() => void} use */
function offerNew(use) {
  find('update', HTMLElement).hidden = false;
  button('use-update').addEventListener('click', use, { once: true });
}
