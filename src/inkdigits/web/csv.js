/** CSV as RFC 4180 has it: commas, CRLF, quotes doubled. */

/** @typedef {import('./batch.js').Item} Item */

const COLUMNS = ['name', 'digit', 'confidence', 'is_digit', ...Array.from({ length: 10 }, (_, digit) => `p${digit}`), 'error'];

/**
 * One line a file that was read or failed, under a line of names.
 * @param {Iterable<Item>} items
 */
export function toCsv(items) {
  const rows = [COLUMNS];
  for (const { file, state, answer, reason } of items) {
    if (state === 'read' && answer) {
      const numbers = [answer.digit ?? '', answer.confidence, answer.is_digit ?? '', ...answer.probabilities];
      rows.push([file.name, ...numbers.map(String), '']);
    } else if (state === 'failed') {
      rows.push([file.name, ...Array(13).fill(''), reason]);
    }
  }
  return rows.map((row) => `${row.map(quoted).join(',')}\r\n`).join('');
}

/** @param {string} text */
function quoted(text) {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
