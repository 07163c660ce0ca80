/**
 * CSV as RFC 4180 has it: commas, CRLF, quotes doubled; and no cell that a spreadsheet takes for a formula. The columns
 * are those of `inkdigits predict --csv`.
 */

import { isDigit } from './reader.js';

/** @typedef {import('./batch.js').Item} Item */

const FACTS = ['digit', 'confidence', 'is_digit', 'digit_score', 'accepted'];
const COLUMNS = ['name', ...FACTS, ...Array.from({ length: 10 }, (_, digit) => `p${digit}`), 'error'];

/**
 * One line a file that was read or failed, under a line of names.
 * @param {Iterable<Item>} items
 */
export function toCsv(items) {
  const rows = [COLUMNS];
  for (const { file, state, answer, reason } of items) {
    if (state === 'read' && answer) {
      const { digit, confidence, is_digit, digit_score, probabilities } = answer;
      const values = [digit, confidence, is_digit, digit_score, isDigit(answer), ...probabilities];
      rows.push([file.name, ...values.map((value) => String(value ?? '')), '']);
    } else if (state === 'failed') {
      rows.push([file.name, '', '', '', '', 'false', ...Array(10).fill(''), reason]);
    }
  }
  return rows.map((row) => `${row.map(quoted).join(',')}\r\n`).join('');
}

/** @param {string} text */
function quoted(text) {
  const cell = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text; // https://owasp.org/www-community/attacks/CSV_Injection
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
