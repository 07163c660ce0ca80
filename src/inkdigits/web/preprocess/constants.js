/** Numbers of the steps, written from inkdigits/preprocess by scripts/constants.py: change them there. */

// prediction.py
export const SIDE = 28; // pixels, of the image that a network sees

// files.py
export const MAX_PIXELS = 16777216; // width × height
export const MIN_SIDE = 10; // pixels of the longer side

// decode.py
export const LUMA = [0.299, 0.587, 0.114]; // Rec. 601, as in Pillow's own conversion to "L"
export const OPAQUE = 128; // alpha from which a pixel's color counts
// pixels of the longer side that tones are measured at, which bounds the cost of huge pictures
export const TONE_SIDE = 512;
export const TONE_SPREAD = 64; // grey levels; opaque pixels that differ by more are both ink and paper

// grey.py
export const WORK_SIDE = 160; // pixels, the longer side of a reduced picture
export const WORK_SHORT = 32; // pixels that the shorter side keeps, if it has them: a strip is not reduced to a line
export const FINER = 5; // times the resolution, for a second pass over a picture in which nothing was found
export const WORK_PIXELS = 102400;
export const FINER_PIXELS = 640000;
export const CLOSE_SIDE = 56; // pixels; smaller ink in a reduced picture is processed again at a higher resolution
export const CLOSE_MARGIN = 0.4; // of the ink's longer side, kept around it then

// background.py
export const FULL_SCALE = 255; // grey levels from black to white
export const MIN_CONTRAST = 15; // grey levels; a picture with less is blank
export const BORDER = 0.03; // of the shorter side: the border that shows the paper
// grey levels between the border's darker and lighter part (quantiles below) that one paper may have
export const UNEVEN = 10;
export const UNEVEN_QUANTILES = [0.1, 0.9];
export const WINDOW = 0.3; // of the longer side: wider than any stroke, narrower than what light and shadow do
export const SURFACE_SAMPLES = 64; // per side, that the surface of the paper is fitted to
export const MOST_INK_ON_BORDER = 0.35; // of the border, at most, is ink that touches it
export const AS_DEEP = 0.6; // of the deepest ink; what touches the border is ink only if it is deeper than that
export const MAD = 1.4826; // median absolute deviation → standard deviation, for normal noise
export const GRAINY = 2.5; // grey levels; a picture whose grain has a larger standard deviation is smoothed first
export const GRAIN_SIDE = 24; // pixels of the shorter side; in smaller pictures the digit's edges would count as grain
export const GRAIN_ROWS = 32; // rows that the grain is estimated from
export const SMOOTH = 64; // pixels of the longer side per pixel of the smoothing radius
export const NOISE_FACTOR = 4.5; // ink differs from the paper by more than this many standard deviations of its grain

// segment.py
export const INK_QUANTILE = 0.1; // of the ink is darker than full ink, so that a hot pixel does not set it
// of the picture, at most, is darker than full ink: stains and rules outnumber thin strokes
export const FULL_SHARE = 0.004;
export const ISOLATED = 4; // pixels, at least, that full ink is estimated from
export const SOLID = 0.45; // of full ink; a deeper pixel is ink
export const SOFT = 0.2; // of full ink; a deeper pixel next to solid ink is ink
export const SOLID_MOST = 0.7; // of full ink, the highest threshold of solid ink, whatever the grain
export const SOFT_MOST = 0.5; // likewise, of soft ink
export const RULE_LEVEL = 0.25; // of full ink; a deeper pixel may be part of a ruled line

// components.py
export const REACH = 3; // pixels that soft ink may lie from sure ink
export const GRAIN_CUT = 2; // standard deviations of the paper's grain; fainter ink is paper
export const RULE_SIDE = 48; // pixels; smaller pictures are not searched for ruled lines
export const RULE_SHARE = 0.8; // of the picture's width that a ruled line covers
export const RULE_WIDTH = 0.05; // of the picture's height; a thicker line is not a ruled line
// of ruled lines, rise per pixel
export const RULE_SLOPES = [0, -0.01, 0.01, -0.02, 0.02, -0.03, 0.03, -0.04, 0.04, -0.05, 0.05];
export const MOST_LEFT_ON_EDGE = 0.2; // of the ink on the outermost pixels may remain when the rules are removed
export const PIECE_SHARE = 0.03; // of the largest component; smaller components are specks
export const MAIN_SHARE = 0.5; // of the largest component; smaller components may be remains of a rule
export const SMALL = 784; // pixels of a picture; in a larger one a single pixel is a speck

// layout.py
// changes if pictures of 24 or more pixels per side, as models are trained on, change
export const NORMALIZATION_VERSION = '2';
export const BOX_SIDE = 20; // pixels, that the ink is scaled to fit
export const CENTER = 14; // pixel index that the center of mass is rounded to, as in MNIST's files
// of the darkest pixels after scaling down counts as full ink, so that thin pens give solid lines
export const FULL_INK = 0.6;
// pixels; a symmetric digit's center is between two pixels: choose the same one whatever the rounding
export const TIE = 1e-05;
