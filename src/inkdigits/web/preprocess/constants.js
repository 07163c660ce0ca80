/** Numbers of the steps, written from inkdigits/preprocess by scripts/constants.py: change them there. */

// prediction.py
export const SIDE = 28; // pixels, of the image that a network sees
export const CLASSES = 10; // digits
export const CHARACTERS = '0123456789.,-?'; // that numbers are read as
export const MARK = '?'; // stands for any other ink

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
// times the wanted size, that a larger picture is first reduced to by whole factors, which is faster
export const GAP = 2;
export const CLOSE_SIDE = 56; // pixels; smaller ink in a reduced picture is processed again at a higher resolution
export const CLOSE_MARGIN = 0.4; // of the ink's longer side, kept around it then

// paper.py
export const MIN_CONTRAST = 15; // grey levels; a picture with less is blank, and a clean border varies by no more
export const BORDER = 0.03; // of the shorter side: the border that shows the paper
export const LARGE = 48; // pixels of the shorter side; in a smaller picture, what touches the border is ink
// pixels of the longer side; the network cannot read smaller pictures, so that all of them count as clean
export const TINY = 24;
export const MAD = 1.4826; // median absolute deviation → standard deviation, for normal noise
export const GRAINY = 2.5; // grey levels; clean paper has grain of no larger standard deviation
export const GRAIN_SIDE = 24; // pixels of the shorter side; in smaller pictures the digit's edges would count as grain
export const GRAIN_ROWS = 32; // rows that the grain is estimated from
export const GRAIN_CUT = 2; // standard deviations of the paper's grain; fainter ink is paper
export const INK_QUANTILE = 0.1; // of the ink is darker than full ink, so that a hot pixel does not set it
export const FULL_SHARE = 0.004; // of the picture, at most, is darker than full ink: blots outnumber thin strokes
export const ISOLATED = 4; // pixels, at least, that full ink is estimated from
export const SOLID = 0.45; // of full ink; a deeper pixel is ink
export const SOFT = 0.2; // of full ink; a deeper pixel next to solid ink is ink
export const SOLID_MOST = 0.7; // of full ink, the highest threshold of solid ink
export const SOFT_MOST = 0.5; // likewise, of soft ink

// planes.py
export const EXTREME = 0.01; // share of the pixels that are darker, or lighter, than the range of the whole picture
export const NEAR = 15; // pixels to each side that the local contrast is taken over
// grey levels; a smaller deviation is taken as this one, so that noise does not fill the range
export const FAINTEST = 3;
export const MOST = 4; // standard deviations, or ranges of the picture, to which values are clipped

// ink.py
export const STRIDE = 16; // sides of the network's input are multiples of it
export const LEAST_SIDE = 80; // pixels of the longer side; a smaller picture is enlarged for the network
export const ENLARGED_SIDE = 112; // pixels, about, that it is enlarged to, by a whole factor
export const PAPER = 0.15; // probability at which a pixel is all paper
export const INK = 0.85; // probability at which a pixel is all ink
export const SOLID_INK = 0.5; // probability above which a pixel is ink
export const SOFT_INK = 0.25; // probability above which a pixel next to solid ink is ink
export const FILLED = 0.7; // of a picture's width and height, at least, that ink has in a picture that is cut at it
export const SURE = 0.45; // of ink, the mean cover, below which the network is not sure that it is ink
// times the strokes that the network found, at most, is ink that it may have missed; else, it is a thing
export const WIDER = 1.25;
export const RING = [1, 4]; // pixels from the ink, where the paper is that its polarity is compared with

// components.py
export const REACH = 3; // pixels that soft ink may lie from solid ink
export const PIECE_SHARE = 0.03; // of the largest component; smaller components are specks
export const SMALL = 784; // pixels of a picture; in a larger one a single pixel is a speck
export const CUT = 0.5; // weight of a component that touches the border, as a cut neighbor does
// of the largest component's longer side, up to which one that the border cuts belongs to it
export const CUT_GAP = 0.08;
export const PART_SHARE = 0.15; // of the largest component; a smaller one belongs to it only if it is near
export const PART_GAP = 0.35; // of the largest component's longer side, that is near
export const PART_SIDE = 0.5; // of the longest part; a shorter one is not a digit of its own
export const SOLID_COVER = 0.5; // share of a pixel that ink covers, above which it counts for the width of strokes
export const MOST_PARTS = 4; // the largest
export const MOST_COMPONENTS = 300; // components, the largest, that the digit is chosen from
export const TALL = 0.75; // of the largest component's longer side; a shorter component that the border cuts is a piece

// layout.py
// changes if clean pictures of 24 or more pixels per side, as of data sets, change
export const NORMALIZATION_VERSION = '2';
export const BOX_SIDE = 20; // pixels, that the ink is scaled to fit
export const CENTER = 14; // pixel index that the center of mass is rounded to, as in MNIST's files
// of the darkest pixels after scaling down counts as full ink, so that thin pens give solid lines
export const FULL_INK = 0.6;
export const LINE_HEIGHT = 32; // pixels of a line as the network sees it
export const LINE_FILL = 0.82; // of that height, that its ink fills
export const LINE_MARGIN = 5; // pixels of paper before and after its ink
export const LINE_PEAK = 0.02; // of the pixels of a line's ink are darker than its full ink
// pixels; a symmetric digit's center is between two pixels: choose the same one whatever the rounding
export const TIE = 1e-05;

// strokes.py
export const MAX_STROKES = 2000; // of a drawing
export const MAX_POINTS = 10000; // of a drawing: some 150 digits
export const MAX_COORDINATE = 1000000000; // either way
export const DIGIT_HEIGHT = 64; // pixels, that a digit of common height is drawn with
export const LEAST_HEIGHT = 0.1; // of the longest side of a stroke: a dash is as high, at least
export const PEN = 0.09; // of a digit's height
export const LEAST_PEN = 1.5; // pixels
export const MARGIN = 20; // pixels, of paper around the strokes
export const LONGEST_SIDE = 1600; // pixels of a drawing
export const MOST_PIXELS = 1500000; // of a drawing
export const OVERSAMPLED = 4; // times as many pixels per side are painted, for grey edges
