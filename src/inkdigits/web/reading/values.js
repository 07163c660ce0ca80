/** What a number is worth, where its text leaves no doubt. */

const PRICE = /(?<=\d)[.,]?-$/; // the dash in place of cents, as in "5.-"

/**
 * Return the value of a number; null where it is ambiguous or not a number.
 * @param {string} text of digits, points, commas and dashes
 * @returns {number | null}
 */
export function valueOf(text) {
  const [sign, written] = text.startsWith('-') ? [-1, text.slice(1)] : [1, text];
  const rest = written.replace(PRICE, '');
  if (/^\d+$/.test(rest)) return sign * Number(rest);
  const signs = rest.match(/[.,]/g) ?? [];
  if (!signs.length || !/^[\d.,]+$/.test(rest)) return null;
  const hasBoth = new Set(signs).size === 2;
  if (signs.length === 1 && /^[1-9]\d{0,2}[.,]\d{3}$/.test(rest)) return null; // thousands, or thousandths
  const group = hasBoth || signs.length > 1 ? signs[0] : '';
  const point = hasBoth ? signs[signs.length - 1] : group ? '' : signs[0];
  const at = point ? rest.indexOf(point) : rest.length;
  let [whole, part] = [rest.slice(0, at), rest.slice(at + 1)];
  if (group && whole.includes(group)) {
    const thousands = whole.split(group);
    if (!thousands.every((three, i) => (i ? /^\d{3}$/ : /^\d{1,3}$/).test(three))) return null;
    whole = thousands.join('');
  }
  return /^\d*$/.test(whole) && /^\d*$/.test(part) && whole + part ? sign * Number(`${whole || 0}.${part}`) : null;
}
