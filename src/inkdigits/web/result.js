/** What reading a picture gives, whoever read it, and why it may fail. */

/**
 * @typedef {'blank' | 'several digits' | 'not a digit' | 'unclear'} Reason
 *
 * @typedef {object} Prediction
 * @property {number | null} digit 0 to 9; null when the picture is blank
 * @property {number} confidence 0 to 1
 * @property {number[]} probabilities ten, of 0 to 9, that sum to 1
 * @property {boolean} [blank] no ink was found
 * @property {boolean} [is_digit] whether the ink looks like a digit at all; older servers do not send it
 * @property {number | null} [digit_score] 0 to 1, how much it does; null from a model without such an output
 * @property {Reason | null} [reason] why the ink is rejected; null where it is accepted; older servers do not send it
 * @property {{left: number, top: number, right: number, bottom: number} | null} [box] where the ink is, in pixels
 * @property {string | null} [polarity]
 * @property {string} [model] name of the model
 * @property {number[][]} [image] the network's input, 28 rows of 0–255, when it was asked for
 * @property {number[][]} [explanation] how much each part mattered, 28 rows of -1 to 1, when it was asked for
 *
 * @typedef {object} Options
 * @property {boolean} [image] return the network's input as well
 * @property {boolean} [explain] return how much each part of the ink mattered
 *
 * @typedef {object} ModelInfo
 * @property {string} name
 * @property {string} sha256
 * @property {string} ink_sha256 of the network that finds ink
 * @property {string | null} [network]
 * @property {number | null} [parameters]
 * @property {string | null} [created]
 * @property {string} [inkdigits] version of the program
 * @property {string} card address of the model card, or of all figures if the model has none
 * @property {number | null} [threshold] digit score under which ink is rejected; null: the model cannot reject
 * @property {Record<string, {accuracy?: number, n?: number}>} [metrics]
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
 * @param {any} info JSON; its card is an address relative to `base`
 * @param {URL} base ends in a slash
 * @returns {ModelInfo}
 */
export const toModelInfo = (info, base) => ({ ...info, card: new URL(info.card ?? 'model.json', base).href });

/** @param {unknown} error */
export const messageOf = (error) => (error instanceof Error ? error.message : String(error));
