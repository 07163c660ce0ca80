/** What outlives a reload, a crash or a suspended tab (the drawing), and a visit (the settings). */

const DRAWING = 'inkdigits.drawing';

/**
 * Restore this tab's last drawing, and save every change from now on.
 * @param {import('./pad.js').Pad} pad
 */
export function persistDrawing(pad) {
  const { drawing } = pad;
  try {
    const saved = sessionStorage.getItem(DRAWING);
    if (saved) drawing.restore(JSON.parse(saved));
  } catch {
    // Storage is off, or holds another version's drawing: start with an empty one.
  }
  const save = () => {
    try {
      sessionStorage.setItem(DRAWING, JSON.stringify(drawing));
    } catch {
      // Storage is full or off: the drawing lasts as long as the page does.
    }
  };
  pad.addEventListener('rest', save);
  pad.addEventListener('edit', () => drawing.isOpen || save());
  window.addEventListener('pagehide', save);
  document.addEventListener('visibilitychange', () => document.hidden && save());
}

/**
 * @param {string} name
 * @returns {string | null} null: nothing was saved, or storage is off
 */
export function savedSetting(name) {
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
export function saveSetting(name, value) {
  try {
    localStorage.setItem(`inkdigits.${name}`, value);
  } catch {
    // Storage is off: the setting holds for this visit.
  }
}
