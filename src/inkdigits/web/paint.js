/** Paints strokes on a canvas. The pad shows the same paths that are sent to be read. */

import { text } from './strings.js';
import { SIDE, bounds, ribbon } from './strokes.js';

/** @typedef {import('./types.js').Stroke} Stroke */
/** @typedef {import('./types.js').Disc} Disc */

const PICTURE_SIDE = 140; // pixels, the longer side of the picture that is sent: five times that of the network's input
const NUMBERS_SIDE = 640; // pixels, likewise, of a picture of numbers
const MARGIN = 0.14; // of paper around the ink, as a share of its longer side
const SHARP = 0.6; // radians between two segments, from which a turn is a corner, not a curve
const TIGHT = 0.8; // share of a segment that the inner side of a curve may lose before the curve is cut
const PAPER = '#fff';
const INK = '#000';

/**
 * @typedef {object} Place of what was read
 * @property {number} scale its units per pad unit
 * @property {number} left its corner on the pad, pad units
 * @property {number} top
 *
 * @typedef {Place & {png: Blob}} Picture
 */

/** @type {Place} where strokes in pad units are */
export const PAD = { scale: 1, left: 0, top: 0 };

/**
 * Return a box in the units of another place.
 * @param {import('./types.js').Box} box
 * @param {Place} from
 * @param {Place} to
 * @returns {import('./types.js').Box}
 */
export function moved(box, from, to) {
  const x = (/** @type {number} */ value) => to.scale * (from.left + value / from.scale - to.left);
  const y = (/** @type {number} */ value) => to.scale * (from.top + value / from.scale - to.top);
  return { left: x(box.left), top: y(box.top), right: x(box.right), bottom: y(box.bottom) };
}

/** @typedef {{points: number, discs: Disc[], pieces: Path2D[]}} Ink */

/** @type {WeakMap<Stroke, Ink>} */
const inks = new WeakMap();

/**
 * Draw strokes in the context's pad units.
 * @param {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} context
 * @param {readonly Stroke[]} strokes
 * @param {string} color
 */
export function paint(context, strokes, color) {
  context.fillStyle = color;
  for (const stroke of strokes) {
    context.globalCompositeOperation = stroke.erases ? 'destination-out' : 'source-over';
    for (const piece of ink(stroke).pieces) context.fill(piece);
  }
  context.globalCompositeOperation = 'source-over';
}

/**
 * Render the strokes as a PNG, small if it is of one digit, cropped to the ink with a margin, black on white on any paper; null when there is
 * no ink on the pad.
 * @param {readonly Stroke[]} strokes
 * @param {boolean} [ofNumbers]
 * @returns {Promise<Picture | null>}
 */
export async function picture(strokes, ofNumbers = false) {
  const box = bounds(strokes.filter(({ erases }) => !erases).map((stroke) => ink(stroke).discs));
  if (!box) return null;
  const [width, height] = [box.right - box.left, box.bottom - box.top];
  const margin = MARGIN * Math.max(width, height);
  const scale = (ofNumbers ? NUMBERS_SIDE : PICTURE_SIDE) / (Math.max(width, height) + 2 * margin);
  const canvas = new OffscreenCanvas(Math.ceil((width + 2 * margin) * scale), Math.ceil((height + 2 * margin) * scale));
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (!context) throw new Error(text.noCanvas);
  const [left, top] = [box.left - margin, box.top - margin];
  context.setTransform(scale, 0, 0, scale, -left * scale, -top * scale);
  // Ink beyond the pad's edge cannot be seen, so it is not read.
  context.beginPath();
  context.rect(0, 0, SIDE, SIDE);
  context.clip();
  paint(context, strokes, INK);
  // The paper is added last, under the ink, because an eraser removes everything.
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  const sheet = copy.getContext('2d', { alpha: false, willReadFrequently: true });
  if (!sheet) throw new Error(text.noCanvas);
  sheet.fillStyle = PAPER;
  sheet.fillRect(0, 0, copy.width, copy.height);
  sheet.drawImage(canvas, 0, 0);
  return { png: await copy.convertToBlob({ type: 'image/png' }), scale, left, top };
}

/**
 * @param {Stroke} stroke
 * @returns {Ink}
 */
function ink(stroke) {
  const known = inks.get(stroke);
  if (known && known.points === stroke.points.length) return known;
  const discs = ribbon(stroke);
  const made = { points: stroke.points.length, discs, pieces: pieces(discs) };
  inks.set(stroke, made);
  return made;
}

/**
 * The outline of a ribbon, cut at turns sharper than its own width, where the inner side would fold over and leave
 * holes. Each piece has round ends and is filled by itself, because edges that cross within a path show as hairlines.
 * @param {readonly Disc[]} discs
 */
function pieces(discs) {
  const paths = [];
  let start = 0;
  for (let i = 1; i < discs.length; i += 1) {
    if (i < discs.length - 1 && !turnsSharply(discs[i - 1], discs[i], discs[i + 1])) continue;
    paths.push(outline(discs.slice(start, i + 1)));
    start = i;
  }
  return paths.length ? paths : [outline(discs)];
}

/**
 * @param {Disc} before
 * @param {Disc} disc
 * @param {Disc} after
 */
function turnsSharply(before, disc, after) {
  const [ax, ay] = [disc.x - before.x, disc.y - before.y];
  const [bx, by] = [after.x - disc.x, after.y - disc.y];
  const angle = Math.abs(Math.atan2(ax * by - ay * bx, ax * bx + ay * by));
  return angle > SHARP || angle * disc.r > Math.min(Math.hypot(ax, ay), Math.hypot(bx, by)) * TIGHT;
}

/**
 * Go along the left side, around the end, back along the right side and around the start.
 * @param {readonly Disc[]} discs
 */
function outline(discs) {
  const path = new Path2D();
  const last = discs.length - 1;
  const angles = discs.map((_, i) => {
    const [from, to] = [discs[Math.max(0, i - 1)], discs[Math.min(last, i + 1)]];
    return Math.atan2(to.y - from.y, to.x - from.x) - Math.PI / 2;
  });
  const side = (/** @type {number} */ i, /** @type {number} */ turn) => {
    path.lineTo(
      discs[i].x + discs[i].r * Math.cos(angles[i] + turn),
      discs[i].y + discs[i].r * Math.sin(angles[i] + turn),
    );
  };
  for (let i = 0; i <= last; i += 1) side(i, 0);
  path.arc(discs[last].x, discs[last].y, discs[last].r, angles[last], angles[last] + Math.PI);
  for (let i = last; i >= 0; i -= 1) side(i, Math.PI);
  path.arc(discs[0].x, discs[0].y, discs[0].r, angles[0] + Math.PI, angles[0] + 2 * Math.PI);
  path.closePath();
  return path;
}
