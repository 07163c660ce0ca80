/**
 * The pad: pointer events in, strokes out, and the canvas as a view of them.
 */

import { paint } from './paint.js';
import { SIDE } from './strokes.js';

/** @typedef {import('./strokes.js').Drawing} Drawing */
/** @typedef {import('./strokes.js').Point} Point */

// The pressure that a pen without a sensor for it reports: https://www.w3.org/TR/pointerevents/#dom-pointerevent-pressure
const NO_SENSOR = 0.5;

/**
 * Draws on a canvas by mouse, finger or pen.
 *
 * Events of its own: `ink` when there is more of it, `edit` when strokes were undone, redone or cleared.
 */
export class Pad extends EventTarget {
  /** @type {number | null} the pointer that draws; others are ignored until it is lifted */
  #pointer = null;
  #frame = 0;

  /**
   * @param {HTMLCanvasElement} canvas square; its CSS `color` is the ink
   * @param {Drawing} drawing
   * @param {() => number} penWidth pad units
   */
  constructor(canvas, drawing, penWidth) {
    super();
    const context = canvas.getContext('2d');
    if (!context) throw new Error('this browser has no canvas to draw on');
    this.canvas = canvas;
    this.context = context;
    this.drawing = drawing;
    this.penWidth = penWidth;
    canvas.addEventListener('pointerdown', (event) => this.#down(event));
    canvas.addEventListener('pointermove', (event) => this.#move(event));
    for (const type of ['pointerup', 'pointercancel', 'lostpointercapture']) {
      canvas.addEventListener(type, (event) => this.#up(/** @type {PointerEvent} */ (event)));
    }
    // Safari on the iPhone shows its magnifier and selects text on a long touch, whatever touch-action says.
    canvas.addEventListener('touchstart', (event) => event.preventDefault(), { passive: false });
    // A browser may throw the canvas away while the page is in the background.
    canvas.addEventListener('contextrestored', () => this.redraw());
    this.#watchSize();
  }

  undo() {
    if (this.drawing.undo()) this.#edited();
  }

  redo() {
    if (this.drawing.redo()) this.#edited();
  }

  clear() {
    if (this.drawing.clear()) this.#edited();
  }

  /** Show the drawing at the next frame. */
  redraw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paint();
    });
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (this.#pointer !== null || event.button !== 0) return;
    event.preventDefault();
    this.#pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.drawing.begin(this.penWidth(), this.#point(event));
    this.#inked();
  }

  /** @param {PointerEvent} event */
  #move(event) {
    if (event.pointerId !== this.#pointer || !this.drawing.isOpen) return;
    // A browser reports once a frame; what the hand did in between is in the coalesced events.
    const events = event.getCoalescedEvents?.() ?? [];
    this.drawing.extend((events.length ? events : [event]).map((each) => this.#point(each)));
    this.#inked();
  }

  /** @param {PointerEvent} event */
  #up(event) {
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    this.drawing.end();
  }

  #inked() {
    this.redraw();
    this.dispatchEvent(new Event('ink'));
  }

  #edited() {
    this.redraw();
    this.dispatchEvent(new Event('edit'));
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
      // The browser's own count of device pixels is exact at any zoom, but is of the real screen while one is emulated.
      const exact = entry.devicePixelContentBoxSize?.[0]?.inlineSize ?? 0;
      const wanted = entry.contentRect.width * devicePixelRatio;
      const side = Math.abs(exact - wanted) < 1 ? exact : Math.round(wanted);
      if (side === this.canvas.width || side === 0) return;
      this.canvas.width = this.canvas.height = side;
      this.#paint(); // at once: a resized canvas is empty, and would flash
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
    paint(this.context, this.drawing.strokes, getComputedStyle(this.canvas).color);
  }
}
