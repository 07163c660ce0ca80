/** The types that modules share. For checks only: the page does not fetch this file. */

/**
 * @typedef {'blank' | 'several digits' | 'not a digit' | 'unclear'} Reason
 *
 * @typedef {{left: number, top: number, right: number, bottom: number}} Box in pixels of the picture, or in pad units
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

/**
 * @typedef {object} Point
 * @property {number} x pad units
 * @property {number} y pad units
 * @property {number} time milliseconds, from any origin
 * @property {number | null} pressure 0 to 1; null if the device does not measure it
 *
 * @typedef {object} Stroke
 * @property {number} width of the pen, pad units
 * @property {readonly Point[]} points one or more
 * @property {boolean} erases removes ink instead of adding it
 *
 * @typedef {object} Disc one of the discs of ink whose hull is the stroke
 * @property {number} x pad units
 * @property {number} y pad units
 * @property {number} r radius, pad units
 */

/**
 * @typedef {object} Item one file of a batch
 * @property {File} file
 * @property {'waiting' | 'reading' | 'read' | 'failed'} state
 * @property {number} tries that got no answer
 * @property {Prediction | null} answer when read
 * @property {string} reason when failed
 * @property {boolean} canRetry when failed: another try may succeed
 * @property {ImageBitmap | null} thumbnail null until it is made, and if this browser cannot open the file
 */

export {};
