/** What reading a picture gives, whoever read it, and why it may fail. */

/** @typedef {import('./types.js').Prediction} Prediction */
/** @typedef {import('./types.js').Reading} Reading */
/** @typedef {import('./types.js').ModelInfo} ModelInfo */

/** The picture was looked at and cannot be read; the message says why. */
export class Rejected extends Error {
  /** @param {string} reason */
  constructor(reason, isFinal = true) {
    super(reason);
    /** whether another try must give the same */
    this.isFinal = isFinal;
  }
}

/** This device lacks what reading on it takes; the message says what. */
export class DeviceUnavailable extends Error {}

/** The server is away, overloaded or failing. Another try later may succeed. */
export class ServerUnavailable extends Error {}

/**
 * Whether the ink looks like a digit, as far as the model can say. If not, `digit` is only the nearest one, and
 * `confidence` does not say how sure the model is.
 * @param {Prediction} prediction
 */
export const isDigit = ({ digit, is_digit }) => digit !== null && is_digit !== false;

/**
 * The probability that what is accepted is right, a digit or numbers; null: nothing is accepted.
 * @param {Prediction} prediction
 */
export function confidenceOf(prediction) {
  if (isDigit(prediction)) return prediction.confidence;
  return prediction.reading?.is_number ? prediction.reading.confidence : null;
}

/**
 * Whether numbers say more of ink than that it is no digit. If the model does not say that the ink is several digits,
 * they must be accepted, and not all of one piece, as a triangle is that looks like "11".
 * @param {Reading} reading
 * @param {Prediction} prediction of the same ink
 */
export function isNumber({ text, is_number, numbers }, prediction) {
  const { reason } = prediction;
  const digits = numbers.flatMap((number) => number.digits.filter(({ digit }) => digit !== null));
  if (isDigit(prediction)) return is_number && digits.length > 1; // by its strokes
  if (reason === 'several digits') return digits.length > 0 && text.length > 1;
  return is_number && digits.length > 1 && digits.some(({ touching }) => !touching);
}

/**
 * The rows of a table, or of lines: each cell a number, or null.
 * @param {Reading} reading
 */
export const rowsOf = ({ numbers, lines, table }) =>
  (table ?? lines).map((row) => row.map((i) => (i === null ? null : numbers[i])));

/**
 * @param {any} info JSON; its card is an address relative to `base`
 * @param {URL} base ends in a slash
 * @returns {ModelInfo}
 */
export const toModelInfo = (info, base) => ({ ...info, card: new URL(info.card ?? 'model.json', base).href });

/** @param {unknown} error */
export const messageOf = (error) => (error instanceof Error ? error.message : String(error));
