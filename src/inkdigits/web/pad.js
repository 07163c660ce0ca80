/** The pad: turns pointer events into strokes, and shows them on the canvas. */

import { paintMarks } from './numbers.js';
import { paint } from './paint.js';
import { text } from './strings.js';
import { SIDE } from './strokes.js';

/** @typedef {import('./strokes.js').Drawing} Drawing */
/** @typedef {import('./types.js').Point} Point */
/** @typedef {import('./numbers.js').Mark} Mark */

const ERASER_BUTTON = 5; // the other end of a pen: https://www.w3.org/TR/pointerevents/#the-button-property
const ERASER_FACTOR = 1.6; // of the pen's width
const PALM_MS = 10_000; // milliseconds after a pen, in which a touch is taken for the palm of its hand

// What a pen without a pressure sensor reports: https://www.w3.org/TR/pointerevents/#dom-pointerevent-pressure
const NO_SENSOR = 0.5;

/**
 * Draws on a canvas with mouse, finger or pen.
 *
 * Events: `ink` when ink was added; `edit` when strokes were undone, redone, cleared or erased; `rest` when the pen was
 * lifted; `palm` when a finger drew nothing. For PALM_MS after a pen, touches are taken for the hand that holds it.
 */
export class Pad extends EventTarget {
  /** @type {number | null} the pointer that draws; the others are ignored until it is lifted */
  #pointer = null;
  #isTouch = false;
  #penAt = -Infinity; // when a pen was last seen, milliseconds
  /** @type {{id: number, at: number} | null} the touch that was taken for a palm */
  #palm = null;
  #frame = 0;
  #erases = false;
  /** @type {import('./explain.js').Heatmap | null} */
  #heatmap = null;
  /** @type {Mark[]} */
  #marks = [];

  /**
   * @param {HTMLCanvasElement} canvas square; its CSS `color` is the ink
   * @param {Drawing} drawing
   * @param {() => {width: number, erases: boolean}} tool width in pad units
   */
  constructor(canvas, drawing, tool) {
    super();
    const context = canvas.getContext('2d');
    if (!context) throw new Error(text.noCanvas);
    this.canvas = canvas;
    this.context = context;
    this.drawing = drawing;
    this.tool = tool;
    canvas.addEventListener('pointerdown', (event) => this.#down(event));
    canvas.addEventListener('pointermove', (event) => this.#move(event));
    canvas.addEventListener('pointerenter', (event) => this.#notice(event));
    for (const type of ['pointerup', 'pointercancel', 'lostpointercapture']) {
      canvas.addEventListener(type, (event) => this.#up(/** @type {PointerEvent} */ (event)));
    }
    // Safari on iPhone shows its magnifier and selects text on a long touch, in spite of touch-action.
    canvas.addEventListener('touchstart', (event) => event.preventDefault(), { passive: false });
    // A browser may discard the canvas while the page is in the background.
    canvas.addEventListener('contextrestored', () => this.redraw());
    this.#watchSize();
  }

  /**
   * Color the ink by how much it mattered; null: not any more.
   * @param {import('./explain.js').Heatmap | null} heatmap
   */
  set heatmap(heatmap) {
    if (heatmap === this.#heatmap) return;
    this.#heatmap = heatmap;
    this.redraw();
  }

  /**
   * Draw boxes over the ink; while it only grows, they stay.
   * @param {Mark[]} marks
   */
  set marks(marks) {
    if (!marks.length && !this.#marks.length) return;
    this.#marks = marks;
    this.redraw();
  }

  /**
   * Put the pen down, or an eraser.
   * @param {Point} point
   * @param {boolean} [turned] the other end of the pen, which erases
   */
  begin(point, turned = false) {
    const { width, erases } = this.tool();
    this.#erases = erases || turned;
    this.drawing.begin(this.#erases ? width * ERASER_FACTOR : width, point, this.#erases);
    this.#inked();
  }

  /**
   * Move the pen that is down.
   * @param {Point[]} points
   */
  extend(points) {
    this.drawing.extend(points);
    this.#inked();
  }

  /** Lift the pen. */
  end() {
    this.drawing.end();
    this.dispatchEvent(new Event('rest'));
  }

  /** @returns {boolean} false: there is nothing to undo */
  undo() {
    return this.#edited(this.drawing.undo());
  }

  /** @returns {boolean} false: there is nothing to redo */
  redo() {
    return this.#edited(this.drawing.redo());
  }

  /** @returns {boolean} false: there is nothing to clear */
  clear() {
    return this.#edited(this.drawing.clear());
  }

  /** Draw again at the next frame. */
  redraw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paint();
    });
  }

  /** @param {PointerEvent} event */
  #down(event) {
    this.#notice(event);
    const turned = event.pointerType === 'pen' && event.button === ERASER_BUTTON;
    const now = performance.now();
    const isPalm = event.pointerType === 'touch' && now - this.#penAt < PALM_MS;
    if (isPalm) this.#palm = { id: event.pointerId, at: now };
    if (this.#pointer !== null || isPalm || (event.button !== 0 && !turned)) return;
    event.preventDefault();
    this.canvas.focus({ preventScroll: true, focusVisible: false });
    this.#pointer = event.pointerId;
    this.#isTouch = event.pointerType === 'touch';
    this.canvas.setPointerCapture(event.pointerId);
    this.begin(this.#point(event), turned);
  }

  /**
   * A pen comes near, so a touch under way is the palm: take its stroke back.
   * @param {PointerEvent} event
   */
  #notice(event) {
    if (event.pointerType !== 'pen') return;
    this.#penAt = performance.now();
    if (this.#pointer === null || !this.#isTouch) return;
    this.#pointer = null;
    this.drawing.cancel();
    this.#changed('edit');
  }

  /** @param {PointerEvent} event */
  #move(event) {
    this.#notice(event);
    if (event.pointerId !== this.#pointer || !this.drawing.isOpen) return;
    // A browser reports one move a frame; the coalesced events are the moves in between.
    const events = event.getCoalescedEvents?.() ?? [];
    this.extend((events.length ? events : [event]).map((each) => this.#point(each)));
  }

  /** @param {PointerEvent} event */
  #up(event) {
    if (event.pointerId === this.#palm?.id) {
      // A pen that moved meanwhile says that this was the palm indeed.
      if (this.#pointer === null && this.#penAt < this.#palm.at) this.dispatchEvent(new Event('palm'));
      this.#palm = null;
    }
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    this.end();
  }

  #inked() {
    this.#changed(this.#erases ? 'edit' : 'ink');
  }

  /** @param {boolean} hasChanged */
  #edited(hasChanged) {
    if (hasChanged) this.#changed('edit');
    return hasChanged;
  }

  /** @param {'ink' | 'edit'} how */
  #changed(how) {
    this.#heatmap = null; // it belongs to another drawing
    if (how === 'edit') this.#marks = [];
    this.redraw();
    this.dispatchEvent(new Event(how));
  }

  /**
   * @param {PointerEvent} event
   * @returns {Point}
   */
  #point(event) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    const measured = event.pointerType === 'pen' && event.pressure > 0 && event.pressure !== NO_SENSOR;
    return {
      x: ((event.clientX - left) / width) * SIDE,
      y: ((event.clientY - top) / height) * SIDE,
      time: event.timeStamp,
      pressure: measured ? event.pressure : null,
    };
  }

  #watchSize() {
    const observer = new ResizeObserver((entries) => {
      const entry = entries[entries.length - 1];
      // The browser's count of device pixels is exact at any zoom, but that of the real screen under emulation.
      const exact = entry.devicePixelContentBoxSize?.[0]?.inlineSize ?? 0;
      const wanted = entry.contentRect.width * devicePixelRatio;
      const side = Math.abs(exact - wanted) < 1 ? exact : Math.round(wanted);
      if (side === this.canvas.width || side === 0) return;
      this.canvas.width = this.canvas.height = side;
      this.#paint(); // now, not at the next frame: a resized canvas is empty and would flash
    });
    try {
      observer.observe(this.canvas, { box: 'device-pixel-content-box' });
    } catch {
      observer.observe(this.canvas);
    }
  }

  #paint() {
    const scale = this.canvas.width / SIDE;
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
    this.context.clearRect(0, 0, SIDE, SIDE);
    const style = getComputedStyle(this.canvas);
    paint(this.context, this.drawing.strokes, style.color);
    if (this.#heatmap) {
      const { image, left, top, side } = this.#heatmap;
      this.context.globalCompositeOperation = 'source-atop'; // on ink only
      this.context.imageSmoothingQuality = 'high';
      this.context.drawImage(image, left, top, side, side);
      this.context.globalCompositeOperation = 'source-over';
    }
    if (this.#marks.length) paintMarks(this.context, this.#marks, style);
  }
}
