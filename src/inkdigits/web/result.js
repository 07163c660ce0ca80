/** What reading a picture gives, whoever read it, and why it may fail. */

/**
 * @typedef {'blank' | 'several digits' | 'not a digit' | 'unclear'} Reason
 *
 * @typedef {{left: number, top: number, right: number, bottom: number}} Box in pixels of the picture
 *
 * @typedef {object} Prediction
 * @property {number | null} digit 0 to 9; null when the picture is blank
 * @property {number} confidence 0 to 1
 * @property {number[]} probabilities ten, of 0 to 9, that sum to 1
 * @property {boolean} [blank] no ink was found
 * @property {boolean} [is_digit] whether the ink looks like a digit at all; older servers do not send it
 * @property {number | null} [digit_score] 0 to 1, how much it does; null from a model without such an output
 * @property {Reason | null} [reason] why the ink is rejected; null where it is accepted; older servers do not send it
 * @property {boolean} [is_sure] whether the guarantee covers it; servers without a profile do not send it
 * @property {boolean} [adapted] whether it was adapted to the user's hand, which no guarantee covers
 * @property {Box | null} [box] where the ink is
 * @property {string | null} [polarity]
 * @property {string} [model] name of the model
 * @property {string | null} [prediction_id] by which the server takes a correction, when it was asked for
 * @property {boolean} [audit] whether the server wants to know if this one is right
 * @property {number[][]} [image] the network's input, 28 rows of 0–255, when it was asked for
 * @property {Reading} [reading] the numbers, if the ink is no digit but reads as them
 * @property {number[][]} [explanation] how much each part mattered, 28 rows of -1 to 1, when it was asked for
 *
 * @typedef {object} Digit one character of a number
 * @property {string} char a digit, point, comma or dash, or "?" for any other ink
 * @property {number | null} digit null if it is not one
 * @property {number} confidence 0 to 1
 * @property {Box} box
 * @property {boolean} touching
 *
 * @typedef {object} Alternative
 * @property {string} text
 * @property {number} confidence
 *
 * @typedef {object} Numeral a number as it is written
 * @property {string} text
 * @property {number | null} value null if it is ambiguous
 * @property {number} confidence 0 to 1
 * @property {boolean} is_number whether it is accepted
 * @property {Box} box
 * @property {Digit[]} digits
 * @property {Alternative[]} alternatives the most likely first
 *
 * @typedef {object} Reading the numbers in a picture
 * @property {string} text a line for each of `lines`, with spaces between numbers
 * @property {number} confidence of all
 * @property {boolean} is_number whether there are numbers, and all are accepted
 * @property {Numeral[]} numbers
 * @property {number[][]} lines the numbers of each line, by their indices
 * @property {(number | null)[][] | null} table likewise, of each row; null in an empty cell
 * @property {boolean} blank
 * @property {string | null} polarity
 * @property {string} [model] name of the model
 * @property {string | null} [prediction_id] as of a prediction
 * @property {boolean} [audit]
 *
 * @typedef {Blob | {strokes: number[][][]}} Page what numbers are read from: an image file, or the pen's strokes
 *
 * @typedef {object} Options
 * @property {boolean} [image] return the network's input as well
 * @property {boolean} [explain] return how much each part of the ink mattered
 *
 * @typedef {object} Guarantee
 * @property {number} threshold confidence from which it holds
 * @property {number} error largest share of wrong answers, 0 to 1
 * @property {number} confidence probability that this holds, 0 to 1
 *
 * @typedef {object} ModelInfo
 * @property {string} name
 * @property {string} sha256
 * @property {string} ink_sha256 of the network that finds ink
 * @property {string} line_sha256 of the network that reads lines of digits
 * @property {string | null} [network]
 * @property {number | null} [parameters]
 * @property {string | null} [created]
 * @property {string} [inkdigits] version of the program
 * @property {string} card address of the model card, or of all figures if the model has none
 * @property {number | null} [threshold] digit score under which ink is rejected; null: the model cannot reject
 * @property {Record<string, {accuracy?: number, n?: number}>} [metrics]
 * @property {Guarantee} [guarantee] what its profile promises
 * @property {boolean} [feedback] whether the server keeps corrections
 * @property {string} [not_on_device] why the page cannot run it
 */

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
