/** Keeping: what must outlive a reload, a tab that the browser put to sleep, or a crash; and what is chosen for good. */

const DRAWING = 'inkdigits.drawing';

/**
 * Bring the drawing back that this tab last had, and keep every change from now on.
 * @param {import('./pad.js').Pad} pad
 */
export function keepDrawing(pad) {
  const { drawing } = pad;
  try {
    const kept = sessionStorage.getItem(DRAWING);
    if (kept) drawing.restore(JSON.parse(kept));
  } catch {
    // Storage is switched off, or what lies there is of another version: then one begins anew.
  }
  const keep = () => {
    try {
      sessionStorage.setItem(DRAWING, JSON.stringify(drawing));
    } catch {
      // No room or not allowed: the drawing still lives while the page does.
    }
  };
  pad.addEventListener('rest', keep);
  pad.addEventListener('edit', () => drawing.isOpen || keep());
  window.addEventListener('pagehide', keep);
  document.addEventListener('visibilitychange', () => document.hidden && keep());
}

/**
 * What was chosen before.
 * @param {string} name
 * @returns {string | null} null: nothing was, or it may not be kept
 */
export function chosen(name) {
  try {
    return localStorage.getItem(`inkdigits.${name}`);
  } catch {
    return null;
  }
}

/**
 * @param {string} name
 * @param {string} value
 */
export function choose(name, value) {
  try {
    localStorage.setItem(`inkdigits.${name}`, value);
  } catch {
    // Then it holds for this visit.
  }
}
