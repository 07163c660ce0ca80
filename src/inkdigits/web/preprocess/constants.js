/** Numbers of the steps, written from inkdigits/preprocess by scripts/constants.py: change them there. */

// prediction.py
export const SIDE = 28; // pixels, of the image that a network sees

// files.py
export const MAX_PIXELS = 16777216; // width × height
export const MIN_SIDE = 10; // pixels of the longer side

// decode.py
export const LUMA = [0.299, 0.587, 0.114]; // Rec. 601, as in Pillow's own conversion to "L"
export const OPAQUE = 128; // alpha from which a pixel's own color is looked at
// pixels of the longer side that the tones are judged by, so that a huge picture costs no more
export const TONE_SIDE = 512;
export const TONE_SPREAD = 64; // grey levels: opaque pixels that differ by more hold both ink and paper

// grey.py
export const WORK_SIDE = 160; // pixels, the longer side a picture is looked at with
export const WORK_SHORT = 32; // pixels that the shorter side keeps, where it has them: a strip is not reduced to a line
export const FINER = 5; // times finer is a picture looked at in which nothing was found
export const WORK_PIXELS = 102400;
export const FINER_PIXELS = 640000;
export const CLOSE_SIDE = 56; // pixels; ink found smaller than this in a reduced picture is looked at again, closer
export const CLOSE_MARGIN = 0.4; // of the ink's longer side, kept around it when looking closer

// background.py
export const FULL_SCALE = 255; // grey levels from black to white
export const MIN_CONTRAST = 15; // grey levels; less is a blank sheet
export const BORDER = 0.03; // of the shorter side: the border that shows the paper
// grey levels between the border's darker and lighter part (quantiles below) that one paper may have
export const UNEVEN = 10;
export const UNEVEN_QUANTILES = [0.1, 0.9];
export const WINDOW = 0.3; // of the longer side: wider than any stroke, narrower than what light and shadow do
export const SURFACE_SAMPLES = 64; // a side, that a surface of paper is fitted to
export const MOST_INK_ON_BORDER = 0.35; // of the border may be ink that touches it
export const AS_DEEP = 0.6; // of the deepest ink is what touches the border, if it is ink
export const MAD = 1.4826; // median absolute deviation → standard deviation, for normal noise
// grey levels, standard deviation of the paper's grain from which the picture is smoothed first
export const GRAINY = 2.5;
// pixels of the shorter side; in smaller pictures the digit's own edges would be taken for grain
export const GRAIN_SIDE = 24;
export const GRAIN_ROWS = 32; // rows that the grain is judged by
export const SMOOTH = 64; // pixels of the longer side for each pixel that the smoothing reaches
export const NOISE_FACTOR = 4.5; // ink differs from the paper by more than this many standard deviations of its grain

// segment.py
// of the inked pixels are darker than what counts as full ink, so that no hot pixel sets it
export const INK_QUANTILE = 0.1;
// of the picture's pixels, at most, are darker than that: stains and rules outnumber thin strokes
export const FULL_SHARE = 0.004;
export const ISOLATED = 4; // pixels: full ink is never judged by fewer
export const SOLID = 0.45; // of full ink, from which a pixel is surely ink
export const SOFT = 0.2; // of full ink, from which a pixel next to sure ink is ink
export const SOLID_MOST = 0.7; // of full ink: no grain asks for more of sure ink
export const SOFT_MOST = 0.5; // nor for more next to it
export const RULE_LEVEL = 0.25; // of full ink, from which a pixel may be of a ruled line

// components.py
export const REACH = 3; // pixels that soft ink may lie from sure ink
export const GRAIN_CUT = 2; // standard deviations of the paper's grain; fainter ink is paper
export const RULE_SIDE = 48; // pixels; in smaller pictures no ruled lines are looked for
export const RULE_SHARE = 0.8; // of the picture's width that a ruled line covers
export const RULE_WIDTH = 0.05; // of the picture's height; thicker is no ruled line
// of ruled lines, rise a pixel
export const RULE_SLOPES = [0, -0.01, 0.01, -0.02, 0.02, -0.03, 0.03, -0.04, 0.04, -0.05, 0.05];
export const MOST_LEFT_ON_EDGE = 0.2; // of the ink on the outermost pixels may be left when the rules are gone
export const PIECE_SHARE = 0.03; // of the largest piece; smaller pieces are specks
export const MAIN_SHARE = 0.5; // of the largest piece; smaller pieces may be what a rule left over
export const SMALL = 784; // pixels of a picture; in a larger one a single pixel is a speck

// layout.py
// changes when pictures that models are trained on give other pixels: 24 and more a side
export const NORMALIZATION_VERSION = '2';
export const BOX_SIDE = 20; // pixels, that the ink is scaled to fit
export const CENTER = 14; // pixel index that the center of mass is rounded to, in MNIST's own files too
export const FULL_INK = 0.6; // of the darkest pixels after scaling down, taken as full ink: thin pens come out solid
// pixels: a symmetric digit's center lies between two, and goes to the same one whatever sums round to
export const TIE = 1e-05;
