/** Numbers of the steps, written from inkdigits/adaptation.py by scripts/constants.py: change them there. */

// adaptation.py
export const STRENGTH = 24; // logits that a digit gains at most
export const POWER = 4; // of the cosine
export const MOST = 200; // digits of a hand that are kept; the oldest go first
export const TURNS = [-19, -10, 10, 19]; // degrees, of distorted copies
export const SLANTS = [-0.25, 0.25]; // pixels to the side a row
export const WIDTHS = [0.76, 1.32]; // of a digit by that of its copy
export const HEIGHTS = [0.81, 1.24]; // likewise
export const LEAST = 1e-09; // length of a direction, which is divided by it
export const FORMAT = 'inkdigits-hand'; // of the file of a hand
export const VERSION = 1;
export const FULL = 255; // level of full ink
