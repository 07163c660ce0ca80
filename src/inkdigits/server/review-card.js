/** The card of the review page: one correction, with its pictures and what was said of it. */

// @ts-check

/**
 * @typedef {{row: number, label: string, status: string, seen: string | null}} Twin
 * @typedef {{row: number, reading: 'digit' | 'number', blind: boolean, audit: boolean, created: string,
 *   seen: string | null, picture: string | null, strokes: [number, number][][] | null, label?: string, answer?: string,
 *   confidence?: number, probabilities?: number[] | null, kind?: string, status?: string, suspicion?: number,
 *   disputes?: number, source?: string, client?: string | null, now?: string | null, group?: Twin[]}} Item
 */

const SIDE = 28; // pixels
const MARGIN = 24; // pixels around a drawing
const PEN = 9; // pixels

/** @type {Record<string, string>} */
export const STATUSES = {
  pending: 'waiting',
  held: 'held',
  accepted: 'accepted',
  relabeled: 'relabeled',
  rejected: 'rejected',
};
export const text = {
  refused: 'This key is not accepted',
  away: 'The server is not responding. Try again.',
  nothing: 'Nothing is left in this queue',
  reading: 'The model reads earlier pictures again…',
  notDigit: 'not a digit',
  notNumber: 'not a number',
  undone: 'Taken back',
  skipped: 'Skipped',
  gone: 'It was removed meanwhile',
  several: 'The labels differ: type the right one',
  /** @param {number} count */
  alike: (count) => (count === 1 ? 'One correction looks like this' : `${count} corrections look like this`),
  /** @param {number} count */
  disputes: (count) => `${count} of the same look ${count === 1 ? 'has' : 'have'} another label`,
  /** @param {number} suspicion */
  suspicion: (suspicion) => `suspicion ${percent.format(suspicion)}`,
};
export const percent = new Intl.NumberFormat('en', { style: 'percent', maximumFractionDigits: 1 });
const SURE = 0.999; // more digits would claim more than a calibration supports

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 */
export function element(id) {
  return /** @type {T} */ (document.getElementById(id));
}

export const input = /** @type {HTMLInputElement} */ (element('text'));

/**
 * What a label says, in words where it is empty.
 * @param {string | null | undefined} label
 * @param {Item} of
 */
export function named(label, of) {
  return label || (of.reading === 'digit' ? text.notDigit : text.notNumber);
}

/**
 * Show a correction.
 * @param {Item} found
 */
export function showCard(found) {
  pictures(found);
  for (const id of ['sent', 'read']) element(id).hidden = found.blind;
  element('blind').hidden = !found.blind;
  element('again').hidden = found.blind || found.now == null;
  if (!found.blind) {
    for (const [id, label] of [['label', found.label], ['answer', found.answer], ['now', found.now]]) {
      const place = element(String(id));
      place.textContent = named(label, found);
      place.closest('dd')?.classList.toggle('word', !label);
    }
    const confidence = found.confidence ?? 0;
    element('sure').textContent = confidence > SURE ? `>${percent.format(SURE)}` : percent.format(confidence);
  }
  const marks = [
    found.audit && 'audit',
    found.status === 'held' && 'held',
    !found.blind && found.kind === 'confirmed' && 'confirmed',
    found.suspicion && text.suspicion(found.suspicion),
    found.disputes && text.disputes(found.disputes),
    found.source && `from ${found.source}`,
    found.client && `client ${found.client}`,
    new Date(found.created).toLocaleDateString('en', { dateStyle: 'medium' }),
  ].filter((mark) => typeof mark === 'string');
  element('marks').replaceChildren(
    ...marks.map((mark) => Object.assign(document.createElement('li'), { textContent: mark })),
  );
  group(found);
  const isNumber = found.reading === 'number';
  element('number').hidden = !isNumber;
  element('digits').hidden = isNumber;
  input.value = found.label ?? '';
  (isNumber && found.blind ? input : element('card')).focus(); // so that Enter presses no button
  /** @type {HTMLButtonElement} */ (element('accept')).disabled = !isNumber && (found.blind || differ(found));
}

/** @param {Item} found */
function open(found) {
  return (found.group ?? []).filter((twin) => twin.status === 'pending' || twin.status === 'held');
}

/**
 * Whether the corrections of a group have several labels.
 * @param {Item} found
 */
function differ(found) {
  return new Set(open(found).map((twin) => twin.label)).size > 1;
}

/** @param {Item} found */
function group(found) {
  const twins = found.group ?? [];
  element('group').hidden = element('others').hidden = !twins.length;
  element('others').textContent = text.alike(twins.length) + (differ(found) ? `. ${text.several}` : '');
  element('group').replaceChildren(
    ...twins.map((twin) => {
      const entry = document.createElement('li');
      const canvas = Object.assign(document.createElement('canvas'), { width: SIDE, height: SIDE });
      canvas.ariaHidden = 'true';
      paint(canvas, twin.seen);
      const isOpen = open(found).includes(twin);
      entry.classList.toggle('settled', !isOpen);
      entry.append(canvas, isOpen ? named(twin.label, found) : STATUSES[twin.status]);
      return entry;
    }),
  );
}

/** @param {Item} found */
function pictures(found) {
  const seen = /** @type {HTMLCanvasElement} */ (element('seen'));
  seen.hidden = !found.seen;
  paint(seen, found.seen);
  const original = /** @type {HTMLImageElement} */ (element('original'));
  original.hidden = !found.picture;
  if (found.picture) original.src = found.picture;
  else original.removeAttribute('src');
  const drawing = /** @type {HTMLCanvasElement} */ (element('drawing'));
  drawing.hidden = !found.strokes;
  if (found.strokes) draw(drawing, found.strokes);
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {string | null} seen base64 of 28×28 bytes, ink 255
 */
function paint(canvas, seen) {
  const context = canvas.getContext('2d');
  if (!context || !seen) return;
  const image = context.createImageData(SIDE, SIDE);
  const bytes = atob(seen);
  for (let i = 0; i < SIDE * SIDE; i += 1) image.data[4 * i + 3] = bytes.charCodeAt(i);
  context.putImageData(image, 0, 0);
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {[number, number][][]} strokes
 */
function draw(canvas, strokes) {
  const context = canvas.getContext('2d');
  if (!context) return;
  const [xs, ys] = [0, 1].map((i) => strokes.flatMap((stroke) => stroke.map((point) => point[i])));
  const [left, top] = [xs, ys].map((values) => values.reduce((a, b) => Math.min(a, b)));
  const [right, bottom] = [xs, ys].map((values) => values.reduce((a, b) => Math.max(a, b)));
  const scale = (canvas.width - 2 * MARGIN) / Math.max(right - left, bottom - top, Number.MIN_VALUE);
  canvas.height = Math.ceil(scale * (bottom - top)) + 2 * MARGIN;
  Object.assign(context, { lineWidth: PEN, lineCap: 'round', lineJoin: 'round' });
  for (const stroke of strokes) {
    context.beginPath();
    const dot = stroke.length === 1 ? stroke : []; // a line to where it begins is drawn as a dot
    for (const [x, y] of [...stroke, ...dot]) context.lineTo(MARGIN + scale * (x - left), MARGIN + scale * (y - top));
    context.stroke();
  }
}
