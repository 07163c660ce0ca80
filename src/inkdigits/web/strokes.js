/**
 * Strokes as data: points, undo and the shape of the ink. No DOM.
 *
 * Lengths are pad units: the pad is SIDE × SIDE of them at any size on the screen, x to the right and y down.
 */

import { MAX_POINTS, MAX_STROKES } from './preprocess/constants.js';

export const SIDE = 1000; // pad units

const MIN_STEP = 1.5; // pad units; closer points are jitter of the hand or the sensor
const FLATNESS = 7; // pad units between the discs of a curve
const SPEED_RANGE = 6; // pad units per millisecond, at which a stroke is thinnest
const SLOW_FACTOR = 1.08; // of the pen's width, standing still
const FAST_FACTOR = 0.76; // of the pen's width, at SPEED_RANGE or faster
const LIGHT_FACTOR = 0.45; // of the pen's width, at no pressure
const FIRM_FACTOR = 1.35; // of the pen's width, at full pressure
const INERTIA = 0.75; // share of its width that a stroke keeps from one point to the next

/** @typedef {import('./types.js').Point} Point */
/** @typedef {import('./types.js').Stroke} Stroke */
/** @typedef {import('./types.js').Disc} Disc */
/** @typedef {import('./types.js').Box} Box */

/** What is on the pad, and its history: every stroke and every clearing can be undone and redone. */
export class Drawing {
  /** @type {(readonly Stroke[])[]} */
  #states = [[]];
  #at = 0;
  /** @type {Point[] | null} points of the open stroke */
  #open = null;

  /** The strokes in the order they were drawn, the open one last. */
  get strokes() {
    return this.#states[this.#at];
  }

  get isEmpty() {
    return this.strokes.length === 0;
  }

  get isOpen() {
    return this.#open !== null;
  }

  get canUndo() {
    return this.#at > 0;
  }

  get canRedo() {
    return this.#at < this.#states.length - 1;
  }

  /**
   * Put the pen down.
   * @param {number} width of the pen, pad units
   * @param {Point} point
   * @param {boolean} [erases] it is an eraser
   */
  begin(width, point, erases = false) {
    this.#open = [point];
    this.#push([...this.strokes, { width, points: this.#open, erases }]);
  }

  /**
   * Move the pen that is down.
   * @param {Iterable<Point>} points
   */
  extend(points) {
    if (!this.#open) throw new Error('extend needs an open stroke; call begin first');
    this.#open.push(...points);
  }

  /** Lift the pen. */
  end() {
    this.#open = null;
  }

  /** Remove the open stroke, as if it had never begun. */
  cancel() {
    if (!this.#open) return;
    this.end();
    this.#states.length = this.#at;
    this.#at -= 1;
  }

  /** Undo the last step; false when there is none. */
  undo() {
    this.end();
    if (!this.canUndo) return false;
    this.#at -= 1;
    return true;
  }

  /** Redo the step that was undone last; false when there is none. */
  redo() {
    this.end();
    if (!this.canRedo) return false;
    this.#at += 1;
    return true;
  }

  /** Remove all strokes, as one step; false when there are none. */
  clear() {
    this.end();
    if (this.isEmpty) return false;
    this.#push([]);
    return true;
  }

  /** The drawing and its history as plain values, small enough to be saved at every stroke. */
  toJSON() {
    const strokes = [...new Set(this.#states.flat())];
    const number = new Map(strokes.map((stroke, i) => [stroke, i]));
    return {
      strokes: strokes.map(({ width, points, erases }) => ({
        width,
        erases,
        points: points.map(({ x, y, time, pressure }) => [rounded(x), rounded(y), rounded(time), pressure]),
      })),
      states: this.#states.map((state) => state.map((stroke) => number.get(stroke))),
      at: this.#at,
    };
  }

  /**
   * Restore what `toJSON` returned.
   * @param {any} kept
   * @throws {TypeError} it is something else; the drawing stays unchanged
   */
  restore(kept) {
    /** @type {Stroke[]} */
    const strokes = kept.strokes.map((/** @type {any} */ { width, erases, points }) => ({
      width: finite(width),
      erases: erases === true,
      points: points.map((/** @type {any[]} */ [x, y, time, pressure]) => ({
        x: finite(x),
        y: finite(y),
        time: finite(time),
        pressure: pressure === null ? null : finite(pressure),
      })),
    }));
    const states = kept.states.map((/** @type {number[]} */ state) => state.map((i) => strokes[i]));
    const isWhole = states.flat().every((/** @type {Stroke} */ stroke) => stroke?.points.length);
    if (!isWhole || !states[kept.at]) throw new TypeError('not a saved drawing');
    this.#states = states;
    this.#at = kept.at;
    this.#open = null;
  }

  /** @param {readonly Stroke[]} state */
  #push(state) {
    this.#states.length = this.#at + 1;
    this.#states.push(state);
    this.#at += 1;
  }
}

/**
 * The ink of a stroke: discs along a smooth line, so close that the hull of two neighbors shows no corner.
 *
 * The line is a quadratic Bézier spline through the midpoints, with the points as controls. Its width follows the
 * pressure, or the speed if there is no pressure sensor.
 * @param {Stroke} stroke
 * @returns {Disc[]}
 */
export function ribbon({ points, width }) {
  const knots = withRadius(withoutJitter(points), width / 2);
  const first = knots[0];
  const last = knots[knots.length - 1];
  const discs = [first];
  let from = first;
  for (let i = 1; i < knots.length; i += 1) {
    const control = knots[i - 1];
    const to = i === knots.length - 1 ? last : middle(control, knots[i]);
    const steps = Math.max(1, Math.ceil((distance(from, control) + distance(control, to)) / FLATNESS));
    for (let step = 1; step <= steps; step += 1) discs.push(bend(from, control, to, step / steps));
    from = to;
  }
  return discs;
}

/**
 * The lines of the pen, as a reader of strokes takes them: the middle of each stroke's ink, without what is off the pad
 * or was erased.
 * @param {readonly Stroke[]} strokes
 * @returns {number[][][] | null} strokes of [x, y]; null if there are none, or more than are read
 */
export function penLines(strokes) {
  /** @type {number[][][]} */
  const lines = [];
  strokes.forEach((stroke, i) => {
    if (stroke.erases) return;
    const erasers = strokes.slice(i + 1).flatMap((later) => (later.erases ? ribbon(later) : []));
    /** @type {number[][] | null} */
    let line = null;
    for (const disc of ribbon(stroke)) {
      const isOn = Math.min(disc.x, disc.y) >= 0 && Math.max(disc.x, disc.y) <= SIDE;
      if (!isOn || erasers.some((eraser) => distance(eraser, disc) < eraser.r)) line = null;
      else if (line) line.push([rounded(disc.x), rounded(disc.y)]);
      else lines.push((line = [[rounded(disc.x), rounded(disc.y)]]));
    }
  });
  const points = lines.reduce((total, { length }) => total + length, 0);
  return points && points <= MAX_POINTS && lines.length <= MAX_STROKES ? lines : null;
}

/**
 * The smallest box around the ink on the pad; null when there is none.
 * @param {Iterable<readonly Disc[]>} ribbons
 * @returns {Box | null}
 */
export function bounds(ribbons) {
  const box = { left: SIDE, top: SIDE, right: 0, bottom: 0 };
  for (const discs of ribbons) {
    for (const { x, y, r } of discs) {
      box.left = Math.min(box.left, Math.max(0, x - r));
      box.top = Math.min(box.top, Math.max(0, y - r));
      box.right = Math.max(box.right, Math.min(SIDE, x + r));
      box.bottom = Math.max(box.bottom, Math.min(SIDE, y + r));
    }
  }
  return box.left < box.right && box.top < box.bottom ? box : null;
}

/** @param {number} value */
const rounded = (value) => Math.round(value * 100) / 100;

/**
 * @param {unknown} value
 * @returns {number}
 */
function finite(value) {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new TypeError(`expected a number, not ${value}`);
  return value;
}

/** @param {readonly Point[]} points */
function withoutJitter(points) {
  const kept = [points[0]];
  for (const point of points) {
    if (distance(kept[kept.length - 1], point) >= MIN_STEP) kept.push(point);
  }
  return kept;
}

/**
 * @param {readonly Point[]} points
 * @param {number} radius of the pen, pad units
 * @returns {Disc[]}
 */
function withRadius(points, radius) {
  /** @type {number | null} */
  let factor = null;
  return points.map((point, i) => {
    const wanted = widthFactor(point, points[Math.max(0, i - 1)], points[1]);
    factor = factor === null ? wanted : factor * INERTIA + wanted * (1 - INERTIA);
    return { x: point.x, y: point.y, r: radius * factor };
  });
}

/**
 * @param {Point} point
 * @param {Point} before the point itself, if it is the first
 * @param {Point | undefined} second the stroke's second point, whose speed the first point gets
 */
function widthFactor(point, before, second) {
  if (point.pressure !== null) return LIGHT_FACTOR + (FIRM_FACTOR - LIGHT_FACTOR) * point.pressure;
  const [from, to] = point === before && second ? [point, second] : [before, point];
  const speed = distance(from, to) / Math.max(1, to.time - from.time);
  return SLOW_FACTOR - (SLOW_FACTOR - FAST_FACTOR) * Math.min(1, speed / SPEED_RANGE);
}

/**
 * The point at t of the quadratic Bézier curve from a to c that b bends.
 * @param {Disc} a
 * @param {Disc} b
 * @param {Disc} c
 * @param {number} t 0 to 1
 * @returns {Disc}
 */
function bend(a, b, c, t) {
  const [u, v, w] = [(1 - t) * (1 - t), 2 * t * (1 - t), t * t];
  return { x: u * a.x + v * b.x + w * c.x, y: u * a.y + v * b.y + w * c.y, r: u * a.r + v * b.r + w * c.r };
}

/**
 * @param {Disc} a
 * @param {Disc} b
 * @returns {Disc}
 */
function middle(a, b) {
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, r: (a.r + b.r) / 2 };
}

/**
 * @param {{x: number, y: number}} a
 * @param {{x: number, y: number}} b
 */
function distance(a, b) {
  return Math.hypot(b.x - a.x, b.y - a.y);
}
