/** The page: makes its parts and ties them together. */

import { AboutPanel } from './about.js';
import { AnswerView } from './answer.js';
import { Backend } from './backend.js';
import { Batch } from './batch.js';
import {
  button,
  element,
  find,
  listenForFiles,
  listenForShortcuts,
  makeToggle,
  reducedMotion,
  setUpPaper,
} from './controls.js';
import { Correcting } from './correcting.js';
import { Follower } from './follow.js';
import { drawByKeyboard } from './keyboard.js';
import { marksOf } from './numbers.js';
import { keepDevice, registerWorker } from './offline.js';
import { Pad } from './pad.js';
import { PAD, picture } from './paint.js';
import { DeviceUnavailable, ServerUnavailable, isDigit, messageOf } from './result.js';
import { ServerBackend, serverAddress } from './server-backend.js';
import { persistDrawing, saveSetting, savedSetting } from './storage.js';
import { fillTexts, text } from './strings.js';
import { Drawing, penLines } from './strokes.js';
import { BatchTable } from './table.js';

/**
 * @typedef {object} Read
 * @property {import('./types.js').Prediction} answer
 * @property {import('./paint.js').Picture} from the picture that was read as a digit
 * @property {() => Promise<import('./paint.js').Picture>} page draws the picture of all ink
 * @property {import('./paint.js').Place} place on the pad of what numbers were read from
 * @property {ReturnType<typeof penLines>} lines the pen's lines, if numbers were read from them
 * @property {readonly unknown[]} ink the strokes that were read
 * @property {typeof import('./explain.js').heatmapOf} [heatmapOf] if the answer has an explanation
 */

fillTexts(document);
const status = find('status', HTMLElement);
try {
  const address = serverAddress(document);
  const canSwitch = !find('device-switch', HTMLElement).hidden;
  start(new Backend(address && new ServerBackend(address), canSwitch), address);
} catch (error) {
  say('down', text.broken(messageOf(error)));
}

/**
 * @param {'connecting' | 'up' | 'down' | 'hint'} state
 * @param {string} words
 */
function say(state, words) {
  status.dataset.state = state;
  if (status.textContent === words) return;
  // A new element each time: one that stays would count as a layout shift.
  status.replaceChildren(element('span', { textContent: words }));
}

/**
 * Tell screen readers what a key or a button did.
 * @param {string} words
 */
function announce(words) {
  find('hand', HTMLElement).textContent = words;
}

/**
 * @param {Backend} backend
 * @param {URL | null} address of the server; null: there is none
 */
function start(backend, address) {
  const { connection } = backend;
  const drawing = new Drawing();
  const penWidth = find('pen-width', HTMLInputElement);
  const eraser = button('eraser');
  const tool = () => ({ width: penWidth.valueAsNumber, erases: eraser.getAttribute('aria-pressed') === 'true' });
  const pad = new Pad(find('pad', HTMLCanvasElement), drawing, tool);
  const sheet = find('sheet', HTMLElement);
  const seenPanel = find('seen-panel', HTMLDetailsElement);
  const whyPanel = find('why-panel', HTMLDetailsElement);
  const view = new AnswerView();
  const about = new AboutPanel(address);
  const follower = new Follower({ ask: readDrawing, answered, failed, busy: (isBusy) => view.busy(isBusy) });
  const batch = new Batch((file) => backend.read(file));
  const correcting = new Correcting({ backend, view, announce, again }, (error) => say('down', messageOf(error)));

  let isPart = false; // what was read last may be a part of a digit or of a number

  /**
   * @param {(read: Read) => void} show a digit, while its strokes are read as numbers
   * @param {AbortSignal} changed
   * @returns {Promise<Read | null>} null when all ink is outside the pad
   */
  async function readDrawing(show, changed) {
    const { strokes } = drawing;
    const from = await picture(strokes);
    if (about.isOpen) about.showCurl(from && from.png);
    // An explanation takes a hundred readings, so it waits until the pen is lifted.
    const explain = whyPanel.open && !drawing.isOpen;
    const explained = explain ? import('./explain.js') : null;
    isPart = false;
    if (!from) return null;
    /** @type {import('./paint.js').Place} */
    let place = from;
    /** @type {ReturnType<typeof penLines>} */
    let lines = null;
    const page = async () => (await picture(strokes, true)) ?? from;
    const readOf = async (/** @type {Read['answer']} */ answer) => {
      return { from, page, place, lines, ink: strokes, answer, heatmapOf: (await explained)?.heatmapOf };
    };
    let early = /** @type {Read | null} */ (null);
    /** @param {Read['answer']} prediction */
    const larger = async (prediction) => {
      const isOne = isDigit(prediction);
      if (isOne && strokes.length < 2) return null;
      isPart = prediction.reason !== 'several digits' && (drawing.isOpen || strokes.length < 2);
      if (isPart) return null;
      lines = penLines(strokes);
      if (isOne) {
        if (!lines || changed.aborted) return null;
        show((early = await readOf(prediction)));
      }
      if (lines) {
        place = PAD;
        return { strokes: lines };
      }
      const all = await page();
      place = all;
      return all.png;
    };
    const answer = await backend.read(from.png, { image: seenPanel.open || explain, explain }, larger, changed);
    return early?.answer === answer ? early : readOf(answer);
  }

  /** @param {Read | null} read */
  function answered(read) {
    pad.marks = read?.answer.reading ? marksOf(read.answer.reading, read.place) : [];
    if (!read) {
      if (!backend.onDevice) connection.worked(); // nothing was sent, so nothing failed
      correcting.show(null);
      return view.say(text.blank);
    }
    view.show(read.answer);
    correcting.show(read);
    const style = getComputedStyle(whyPanel);
    const colors = { for: style.getPropertyValue('--for'), against: style.getPropertyValue('--against') };
    const isExplained = whyPanel.open && !read.answer.reading;
    pad.heatmap = isExplained && read.heatmapOf ? read.heatmapOf(read.answer, read.from, colors) : null;
  }

  /** @param {unknown} error */
  function failed(error) {
    const isKnown = error instanceof DeviceUnavailable ? backend.fault !== '' : error instanceof ServerUnavailable;
    if (!isKnown) say('down', messageOf(error));
    if (!drawing.isEmpty) view.say(backend.isAway ? comfort() : '');
  }

  /** What to say while nothing can read. */
  function comfort() {
    if (!backend.onDevice) return text.awayMore;
    return address ? text.switchOff : '';
  }

  /** @param {boolean} grown rather than changed into another drawing */
  function follow(grown) {
    showTools();
    correcting.close();
    if (status.dataset.state === 'hint' || status.dataset.state === 'down') showState();
    if (drawing.isEmpty) {
      follower.stop();
      correcting.show(null);
      if (about.isOpen) about.showCurl(null);
      return view.say(text.waiting);
    }
    if (backend.isAway) return view.say(comfort());
    view.expect();
    if (grown) follower.grown();
    else follower.changed();
  }

  /** Read the drawing on the pad once more. */
  function again() {
    if (!drawing.isEmpty) follow(false);
  }

  function predict() {
    if (!drawing.isEmpty) {
      backend.retryNow();
      correcting.forget();
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
    if (backend.isFallback) return say('down', text.deviceStandsIn);
    if (!backend.onDevice) {
      const words = { connecting: text.connecting, up: text.ready, down: text.away };
      return say(connection.state, words[connection.state]);
    }
    if (backend.fault) return say('down', text.deviceMissing(backend.fault));
    if (backend.isLoaded) say('up', text.deviceReady);
    else say('connecting', text.deviceLoading);
  }

  async function backendChanged() {
    showState();
    if (backend.onDevice && backend.isLoaded) keepDevice();
    const model = await backend.model();
    view.guarantee = model?.guarantee ?? null;
    about.show(model, backend.onDevice ? text.onThisDevice : text.onServer);
    find('model', HTMLElement).textContent = model ? text.readBy(model.name) : '';
  }

  pad.addEventListener('ink', () => follow(true));
  pad.addEventListener('edit', () => follow(false));
  pad.addEventListener('rest', () => (whyPanel.open || isPart) && again());
  pad.addEventListener('palm', () => say('hint', text.penInUse));
  backend.addEventListener('change', backendChanged);
  backend.addEventListener('back', () => {
    if (drawing.isEmpty && batch.isSettled && !backend.onDevice) return connection.worked();
    if (!drawing.isEmpty) follower.changed();
    batch.resume();
  });

  const actions = {
    undo: () => pad.undo() && announce(text.undone),
    redo: () => pad.redo() && announce(text.redone),
    clear: () => pad.clear() && announce(text.cleared),
  };
  button('undo').addEventListener('click', actions.undo);
  button('redo').addEventListener('click', actions.redo);
  button('clear').addEventListener('click', actions.clear);
  button('predict').addEventListener('click', predict);
  const erase = makeToggle(eraser, (on) => sheet.classList.toggle('erasing', on));
  seenPanel.addEventListener('toggle', () => seenPanel.open && again());
  whyPanel.addEventListener('toggle', () => {
    pad.heatmap = null;
    if (whyPanel.open) again();
  });
  find('about', HTMLDetailsElement).addEventListener('toggle', async () => {
    if (about.isOpen) about.showCurl((await picture(drawing.strokes))?.png ?? null);
  });
  listenForShortcuts({
    ...actions,
    erase: () => erase(!tool().erases),
    predict,
    wrong: () => correcting.open(),
  });
  setUpPaper(sheet, pad);
  persistDrawing(pad);
  penWidth.value = savedSetting('pen') ?? penWidth.value;
  penWidth.addEventListener('change', () => saveSetting('pen', penWidth.value));
  drawByKeyboard(pad, find('cursor', HTMLElement), announce);
  new BatchTable(batch);
  listenForFiles((files) => {
    batch.add(files);
    const behavior = reducedMotion() ? 'auto' : 'smooth';
    find('results', HTMLElement).scrollIntoView({ block: 'nearest', behavior });
  });
  setUpSwitch(backend);
  showTools();
  view.say(drawing.isEmpty ? text.waiting : '');
  say('connecting', text.connecting);
  window.addEventListener('online', () => backend.retryNow());
  document.addEventListener('visibilitychange', () => document.hidden || backend.retryNow());
  registerWorker((use) => {
    find('update', HTMLElement).hidden = false;
    button('use-update').addEventListener('click', use, { once: true });
  });
  backend.start();
}

/**
 * The switch between server and device.
 * @param {Backend} backend
 */
function setUpSwitch(backend) {
  const box = find('on-device', HTMLInputElement);
  if (!backend.hasDevice) return;
  box.addEventListener('change', () => {
    saveSetting('on-device', String(box.checked));
    backend.choose(box.checked);
  });
  if (!backend.server) box.checked = box.disabled = true;
  else if (savedSetting('on-device') === 'true') box.checked = true;
  if (box.checked) backend.choose(true);
}
