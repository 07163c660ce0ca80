/** Drawing with the keyboard: arrow keys move the pen, the space bar puts it down and lifts it. */

import { text } from './strings.js';
import { SIDE } from './strokes.js';

/** @typedef {import('./pad.js').Pad} Pad */

const STEP = 40; // pad units per key press
const FINE_STEP = 10; // with Shift
const PACE = 30; // milliseconds that a step counts as, so that lines are as thick as those of a slow hand

/** @type {Record<string, [number, number]>} */
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * Let the keyboard draw while the pad has the focus.
 * @param {Pad} pad
 * @param {HTMLElement} cursor shows where the pen is
 * @param {(words: string) => void} say announces it to screen readers
 */
export function drawByKeyboard(pad, cursor, say) {
  const at = { x: SIDE / 2, y: SIDE / 4 };
  /** @type {Set<string>} two keys held together move diagonally */
  const held = new Set();
  let time = 0;
  let isDown = false;

  const point = () => ({ ...at, time, pressure: null });
  const show = (/** @type {boolean} */ visible) => {
    cursor.hidden = !visible;
    cursor.classList.toggle('down', isDown);
    cursor.style.left = `${(100 * at.x) / SIDE}%`;
    cursor.style.top = `${(100 * at.y) / SIDE}%`;
  };
  const lift = () => {
    if (!isDown) return;
    isDown = false;
    if (pad.drawing.isOpen) pad.end();
    say(text.penUp);
  };
  const toggle = () => {
    if (isDown) return lift();
    isDown = true;
    pad.begin(point());
    say(text.penDown);
  };
  const move = (/** @type {number} */ step) => {
    for (const key of held) {
      at.x = Math.min(Math.max(at.x + DIRECTIONS[key][0] * step, 0), SIDE);
      at.y = Math.min(Math.max(at.y + DIRECTIONS[key][1] * step, 0), SIDE);
    }
    time += PACE;
    if (isDown && pad.drawing.isOpen) pad.extend([point()]);
  };

  const { canvas } = pad;
  canvas.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in DIRECTIONS) {
      held.add(event.key);
      move(event.shiftKey ? FINE_STEP : STEP);
    } else if (event.key === ' ') {
      if (!event.repeat) toggle();
    } else if (event.key === 'Escape') {
      lift();
    } else {
      return;
    }
    event.preventDefault();
    show(true);
  });
  canvas.addEventListener('keyup', (event) => held.delete(event.key));
  canvas.addEventListener('focus', () => show(canvas.matches(':focus-visible')));
  canvas.addEventListener('blur', () => {
    held.clear();
    lift();
    show(false);
  });
  canvas.addEventListener('pointerdown', () => {
    isDown = false;
    show(false);
  });
  pad.addEventListener('edit', () => {
    if (pad.drawing.isOpen) return;
    isDown = false; // its stroke was undone or cleared
    cursor.classList.remove('down');
  });
}
