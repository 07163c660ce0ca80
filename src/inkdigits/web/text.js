/** Every word the page says, in one place, so that it can be said in another language. */

const percentage = new Intl.NumberFormat('en', { style: 'percent', maximumFractionDigits: 1 });
const SURE = 0.999; // from here on, more digits would claim more than a calibration can hold

/**
 * The texts of the page. `data-text="key"` in its HTML takes the one named `key` as content, `data-label="key"` as
 * accessible name.
 */
export const text = {
  pad: 'Drawing pad',
  hint: 'Draw a digit',
  hintMore: '0 to 9, any size, anywhere on the sheet',
  undo: 'Undo',
  redo: 'Redo',
  clear: 'Clear',
  predict: 'Predict',
  penWidth: 'Pen width',
  darkPaper: 'Dark paper',
  answer: 'Answer',
  bars: 'How likely each digit is',
  seen: 'What the network saw',
  seenCanvas: 'Your digit as 28 by 28 pixels',
  seenMore:
    'Your ink, cut out, scaled and centred by its weight on 28\u00a0×\u00a028 pixels. This is all the network gets.',
  seenEmpty: 'It appears here with the answer: your digit as the network gets it, in 28\u00a0×\u00a028 pixels.',
  files: 'Images of digits',
  choose: 'Choose images',
  chooseMore: 'or drop or paste them anywhere. Photos and scans, as many as you like.',
  drop: 'Drop the images to read them',
  results: 'Images',
  saveCsv: 'Save as CSV',
  clearFiles: 'Clear list',
  columnImage: 'Image',
  columnName: 'Name',
  columnDigit: 'Digit',
  columnConfidence: 'Confidence',
  retry: 'Retry',
  api: 'HTTP API',

  connecting: 'Connecting…',
  ready: 'Ready: the answer follows your pen',
  drawFirst: 'Draw a digit first',
  away: 'The server does not answer. Trying again…',
  csvName: 'digits.csv',

  waiting: 'The answer appears as you draw',
  blank: 'No ink to read yet',
  awayMore: 'Nothing is lost: the answer comes as soon as the server does',
  noOther: 'No other digit comes close',

  /** @param {number} probability */
  percent: (probability) => (probability > SURE ? `>${percentage.format(SURE)}` : percentage.format(probability)),

  /** @param {number} probability of the digit, in words */
  certainty(probability) {
    if (probability >= 0.99) return 'Almost certain';
    if (probability >= 0.95) return 'Very sure';
    if (probability >= 0.8) return 'Fairly sure';
    if (probability >= 0.6) return 'Likely';
    if (probability >= 0.4) return 'Unsure';
    return 'A guess';
  },

  /**
   * @param {number} digit
   * @param {number} probability
   */
  runnerUp: (digit, probability) => `or else ${digit}, at ${text.percent(probability)}`,

  /**
   * What a screen reader says of an answer.
   * @param {number} digit
   * @param {number} confidence
   */
  spoken: (digit, confidence) => `${digit}. ${text.certainty(confidence)}, ${text.percent(confidence)}.`,

  /** @param {string} model */
  readBy: (model) => `Read by the model “${model}”`,

  /**
   * @param {number} done
   * @param {number} all
   * @param {number} failed
   */
  progress(done, all, failed) {
    const images = all === 1 ? '1 image' : `${all} images`;
    const read = done < all ? `${done} of ${images} done` : `${images} done`;
    return failed ? `${read}, ${failed} could not be read` : read;
  },

  itemWaiting: 'Waiting',
  itemReading: 'Reading…',
  itemBlank: 'blank',

  /** @param {string} name */
  retryNamed: (name) => `Retry ${name}`,

  /** @param {string} reason */
  refused: (reason) => `This cannot be read: ${reason}`,

  /** @param {string} reason */
  broken: (reason) => `The page cannot work: ${reason}`,

  /** @param {boolean} mac */
  shortcuts: (mac) => [
    { name: text.undo, keys: mac ? ['⌘', 'Z'] : ['Ctrl', 'Z'] },
    { name: text.redo, keys: mac ? ['⇧', '⌘', 'Z'] : ['Ctrl', 'Shift', 'Z'] },
    { name: text.clear, keys: ['Delete'] },
    { name: text.predict, keys: ['Enter'] },
  ],
};

/**
 * Put the texts into the elements that ask for them.
 * @param {ParentNode} root
 */
export function fillTexts(root) {
  /** @param {string} key */
  const say = (key) => /** @type {string} */ (/** @type {Record<string, unknown>} */ (text)[key]);
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll('[data-text]'))) {
    element.textContent = say(element.dataset.text ?? '');
  }
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll('[data-label]'))) {
    element.setAttribute('aria-label', say(element.dataset.label ?? ''));
    if (element instanceof HTMLButtonElement) element.title = say(element.dataset.label ?? '');
  }
}
