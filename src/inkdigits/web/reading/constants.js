/** Numbers of the steps, written from inkdigits/reading by scripts/constants.py: change them there. */

// __init__.py
export const CHARACTER = 0.45; // of a number's height; lower ink is a point, comma or dash
export const WIDE = 0.5; // of a picture's width or height: what may be a page of digits that looks like one
export const PIECE = 0.3; // of the highest component's height: a large piece
export const MOST_PIECES = 4; // of a digit, as of a 5 in a dry pen
export const TALL_PART = 0.5; // of the highest component's height: parts that show where a drawn line of digits is
export const THRESHOLD = 0.5; // of a number's confidence, from which it is accepted

// ink.py
export const PAGE_SIDE = 1600; // pixels, the longer side of a reduced page
export const PAGE_PIXELS = 1500000; // of a reduced page, at most
export const REACH = 2; // pixels that soft ink may lie from solid ink
export const SPECK = 3; // pixels; fewer are no ink, not even a point

// layout.py
export const MOST = 3000; // components of a page, the largest
export const TALL = [0.45, 3]; // of a common digit's height: what is not within is a mark, or no writing
export const LEVEL = 0.4; // of the lower height: digits whose rows overlap so much are on one line
export const FAR = 4; // of a digit's height; digits farther apart are not compared
export const SAME_ROW = 0.5; // of the lower height: lines whose rows overlap so much are on one row
export const MARK_ABOVE = 0.25; // of a digit's height, that marks reach above and below their line
export const MARK_BELOW = 0.4; // of a digit's height, that marks reach above and below their line
export const LONG = 0.75; // of a common digit's height: the longest comma
export const HANGS = 0.1; // of a digit's height, that a long comma starts below its line, at most
export const MARK_FAR = 1; // of a digit's height, from a mark to the nearest digit
export const GAP = 0.9; // of a digit's height; numbers are farther apart
export const SAME_COLUMN = 0.5; // of the narrower width: components that overlap so much are one character

// lines.py
export const FRAME = 2; // pixels of a line's width per frame
export const LOGITS = 15; // of a frame; the first is that of no character
// values per frame, in units of the line's height: to the left and right, and top and bottom of the character
export const BOX = 4;
export const BATCH_PIXELS = 524288; // of the lines of one network run
export const ALIKE = 0.6; // of the widest line of a network run: the width of the others, which are padded to it

// search.py
export const BEAM = 10; // texts that are followed
export const FLOOR = -8; // log-probability of a character in a frame, below which it is not followed
export const NEVER = -1000000000; // log-probability of what cannot be

// scoring.py
export const LEAST = -7; // log-probability that the witness gives, at least
export const LEAST_DIGIT = -3; // log-probability that one digit is another than the witness says, at least
// log-probability of the witness's own character, above which it is proposed, too
export const SURE = -0.6931471805599453;
export const STROKES = 0.6; // weight of the log-probability of the strokes
export const NEARLY_NONE = 1e-09; // probability; its logarithm is taken
export const NO_MARK = -4; // log-probability that low ink is no sign, but a speck, or a part of a digit
export const DASH = 1.4; // width by height of a dash, at least
export const DASH_MIDDLE = [0.2, 0.8]; // how far down it is
export const SHORTEST_DASH = 0.15; // of the number's height
export const COMMA = 0.26; // height of a comma by that of the number, or by its width, at least
export const COMMA_SHAPE = 1.6; // height of a comma by that of the number, or by its width, at least
export const SUREST = 12; // largest logit of a text's probability
// of the shipped line network, from models/registry.json
export const CALIBRATION = { witness: 0.3, weights: [0.7697, -0.4814, 0.7027, 0.0119], digit: 1 };

// strokes.py
export const MOST_STROKES = 60; // of a number; with more, the strokes are no witness
export const TOGETHER = 4; // strokes of one character, at most
export const WIDEST = 1.7; // of a digit's height: the width of one character
export const GLYPH_SIDE = 20; // pixels of a character as it is drawn, and of its pen
export const GLYPH_PEN = 2.4; // pixels of a character as it is drawn, and of its pen
export const SMALL = 0.45; // of a digit's height: points, commas and dashes are lower
export const HANGING = 0.6; // of a digit's height from the top of the line: long commas start lower
export const FLAT = 0.6; // height by width, of a dash at most
export const POINT_MIDDLE = 0.6; // of the line's height from its top: the middle of a point or comma is lower
export const AS_HIGH = 0.8; // of the height of several digits: the height of each
// of the wider one's width, that two parts share: a digit that was gone over again, not two
export const SAME_PLACE = 0.5;
export const NARROW = 0.3; // of the height of several digits: narrow parts whose middles are closer are one, too
export const CLOSE = 0.1; // of the height of several digits: narrow parts whose middles are closer are one, too
export const SURE_DIGITS = -0.2; // log-probability of all of them, at least
// by so much more strokes weigh whose ink looks like one digit: the line network cannot read it
export const OVERLAPPING = 4;
export const NOT_ONE = -50; // log-probability that they are one character
export const MARKED = 0.9; // probability of a point, comma or dash whose shape and place fit
