/** Every string that the page shows, in one place, so that it can be translated. */

const percentage = new Intl.NumberFormat('en', { style: 'percent', maximumFractionDigits: 1 });
const precise = new Intl.NumberFormat('en', { style: 'percent', minimumFractionDigits: 2 });
const share = new Intl.NumberFormat('en', { style: 'percent', maximumFractionDigits: 2 });
const megabytes = new Intl.NumberFormat('en', { style: 'unit', unit: 'megabyte', maximumSignificantDigits: 2 });
const date = new Intl.DateTimeFormat('en', { dateStyle: 'long', timeZone: 'UTC' });
const SURE = 0.999; // more digits would claim more than a calibration supports

/**
 * In the page's HTML, `data-text="key"` asks for a string as content, `data-label="key"` as accessible name. Errors are
 * whole sentences.
 */
export const text = {
  pad: 'Drawing pad',
  padHelp: 'Arrow keys move the pen; with Shift, in small steps. The space bar puts it down and lifts it.',
  penDown: 'Pen down',
  penUp: 'Pen up',
  undone: 'Undone',
  redone: 'Redone',
  cleared: 'Cleared',
  hint: 'Draw a digit',
  hintMore: 'or a number, any size, anywhere on the sheet',
  undo: 'Undo',
  redo: 'Redo',
  clear: 'Clear',
  predict: 'Predict',
  penWidth: 'Pen width',
  darkPaper: 'Dark paper',
  eraser: 'Eraser',
  answer: 'Answer',
  bars: 'How likely each digit is',
  numbers: 'Numbers',
  alternatives: 'Other numbers that it may be',
  copyNumber: 'Copy',
  copyTable: 'Copy table',
  seen: 'What the network saw',
  seenCanvas: 'Your digit as 28 by 28 pixels',
  seenMore: 'Your digit, cropped, scaled and centered on 28\u00a0×\u00a028 pixels. The network sees nothing else.',
  seenEmpty: 'Draw a digit to see it as the network does, in 28\u00a0×\u00a028 pixels.',
  why: 'Why this digit',
  whyFor: 'Red ink supports this digit',
  whyAgainst: 'blue ink speaks against it',
  whyMore: 'Small parts of the drawing are erased, one after another. The colors show how much each part matters.',
  about: 'About',
  aboutModel: 'Model',
  aboutVersion: 'Version',
  aboutTrained: 'Trained',
  aboutAccuracy: 'Accuracy',
  aboutNonDigits: 'Other drawings',
  aboutGuarantee: 'Guarantee',
  aboutRuns: 'Runs',
  aboutNothing: 'Not known yet',
  rejected: 'rejected: not a digit',
  notRejected: 'read as the closest digit',
  onServer: 'on the server',
  onThisDevice: 'on this device',
  card: 'Model card',
  figures: 'All figures',
  /** @type {Record<string, string>} */
  sets: {
    mnist: 'MNIST test digits',
    digits: 'scanned digits from scikit-learn',
    pen: 'digits drawn by people it was not trained on',
  },
  curl: 'Send this drawing with curl',
  curlMore: 'Run this command to send the drawing on the pad to the server.',
  copy: 'Copy',
  copied: 'Copied',
  notCopied: 'Copy the selected text',
  onDevice: 'On this device',
  onDeviceMore: 'Nothing you draw or choose leaves it',
  files: 'Pictures of digits',
  choose: 'Choose pictures',
  photo: 'Take a photo',
  chooseMore: 'Photos and scans of digits and numbers.',
  dropMore: 'You can also drop or paste them here.',
  drop: 'Drop the pictures to read them',
  results: 'Pictures',
  saveCsv: 'Save as CSV',
  clearFiles: 'Clear list',
  columnImage: 'Picture',
  columnName: 'Name',
  columnDigit: 'Read as',
  columnConfidence: 'Confidence',
  sortConfidence: 'Sort by confidence',
  progressBar: 'Pictures read',
  retry: 'Retry',
  api: 'HTTP API',
  wrong: 'Wrong?',
  right: 'Right',
  keypad: 'It was …',
  notDigit: 'Not a digit',
  notNumber: 'Not a number',
  numberField: 'The number as it was written',
  done: 'Done',
  cancel: 'Cancel',
  yourHand: 'Your hand',
  handOn: 'Adapt to my hand',
  handOnMore: 'Answers on this device follow your corrections, which stay here',
  feedbackOn: 'Send my corrections',
  feedbackOnMore: 'The server keeps the picture and your label to improve the model',
  handExport: 'Export',
  handImport: 'Import',
  handErase: 'Erase all',
  handFile: 'inkdigits-hand.json',
  handOtherFile: 'This file holds no corrections. Choose one that this page exported.',
  handCannot: 'The model on this device cannot adapt to a hand.',
  handNeedsDevice: 'This needs reading on this device, which this page does not offer.',
  choicesTitle: 'What may be done with your corrections?',
  choicesMore: 'You can change this under “Your hand” at any time.',
  save: 'Save',
  neither: 'Neither',
  askRight: 'Is this right?',
  corrected: 'Corrected',
  wasRejected: 'It was rejected',
  correctionUndone: 'Correction undone',
  erased: 'All corrections are erased',

  connecting: 'Connecting…',
  ready: 'Ready: the answer follows your pen',
  drawFirst: 'Draw a digit first',
  penInUse: 'Use the pen, or wait 10 seconds to draw with a finger',
  away: 'The server is not responding. Trying again…',
  deviceLoading: 'Downloading the model…',
  deviceReady: 'Ready on this device: the answer follows your pen',
  deviceStandsIn: 'The server is not responding. Reading on this device.',
  newVersion: 'A new version of this page is available',
  useNew: 'Reload',
  csvName: 'digits.csv',

  waiting: 'The answer appears as you draw',
  blank: 'Nothing to read yet',
  noDigit: 'This does not look like a digit',
  severalDigits: 'That looks like more than one digit',
  oneAtATime: 'Write one at a time',
  unclear: 'This is hard to read',
  awayMore: 'Your drawing is kept until the server is back',
  switchOff: 'Turn off “On this device” to use the server',
  drawKeys: 'Draw with the keyboard',
  noPromise: 'Below the guarantee',
  promiseNotAdapted: 'No guarantee for answers adapted to your hand',
  noOther: 'No other digit comes close',
  noOtherNumber: 'No other comes close',

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
  runnerUp: (digit, probability) => `or ${digit}, at ${text.percent(probability)}`,

  /** @param {number} error share of wrong answers */
  promise: (error) => `Guaranteed: at most ${text.share(error)} wrong`,

  /** @param {number} value 0 to 1 */
  share: (value) => share.format(value),

  /** @param {import('./types.js').Guarantee} guarantee */
  guarantee: ({ threshold, error, confidence }) =>
    `answers of ${text.share(threshold)} and more: at most ${text.share(error)} are wrong, with ${text.share(confidence)} confidence`,

  /** @param {number} digit */
  nearest: (digit) => `The closest digit is ${digit}`,

  /**
   * An answer for screen readers.
   * @param {number} digit
   * @param {number} confidence
   */
  spoken: (digit, confidence) => `${digit}. ${text.certainty(confidence)}, ${text.percent(confidence)}.`,

  /**
   * Numbers for screen readers.
   * @param {string[]} lines
   * @param {number} confidence
   * @param {boolean} isSure
   */
  spokenNumbers(lines, confidence, isSure) {
    const sure = isSure ? `${text.certainty(confidence)}, ${text.percent(confidence)}` : text.unclear;
    return `${lines.join('; ')}. ${sure}.`;
  },

  /**
   * Another text that one of several numbers may be.
   * @param {string} number
   * @param {string} other
   */
  instead: (number, other) => `${number} → ${other}`,

  /**
   * Why ink is rejected, and what to do or what it is closest to.
   * @param {string | null | undefined} reason
   * @param {number} nearest digit
   */
  noDigitBecause(reason, nearest) {
    if (reason === 'several digits') return [text.severalDigits, text.oneAtATime];
    return [reason === 'unclear' ? text.unclear : text.noDigit, text.nearest(nearest)];
  },

  /** @param {string[]} sentences */
  spokenRejected: (sentences) => sentences.map((sentence) => `${sentence}.`).join(' '),

  /** @param {string} model */
  readBy: (model) => `Model: ${model}`,

  /**
   * @param {string} name
   * @param {string | null | undefined} network
   * @param {number | null | undefined} parameters
   */
  modelNamed(name, network, parameters) {
    const more = [network && network !== name ? network : '', parameters ? text.parameters(parameters) : ''];
    return [name, ...more.filter(Boolean)].join(', ');
  },

  /** @param {number} count */
  parameters: (count) => `${count.toLocaleString('en')} parameters`,

  /**
   * @param {number} share
   * @param {number} count
   * @param {string} set
   */
  accuracy: (share, count, set) => `${precise.format(share)} of ${count.toLocaleString('en')} ${text.sets[set] ?? set}`,

  /** @param {string} moment in ISO 8601 */
  date: (moment) => date.format(new Date(moment)),

  /**
   * @param {number} width
   * @param {number} height
   * @param {number} least
   */
  tooSmall: (width, height, least) =>
    `This picture is too small: ${width} × ${height} pixels. One side needs at least ${least}.`,

  /**
   * @param {number} width
   * @param {number} height
   * @param {number} most
   */
  tooLarge: (width, height, most) =>
    `This picture is too large: ${width} × ${height} pixels. Scale it down to ${Math.floor(most / 1e6)} megapixels.`,

  noCanvas: 'This browser cannot draw on a canvas.',

  /** @param {string} address */
  notHttp: (address) => `The server’s address must start with http or https: ${address}`,

  /** @param {number} seconds */
  noAnswer: (seconds) => `The server did not answer within ${seconds} seconds.`,

  emptyFile: 'This file is empty.',
  notShown: 'This browser cannot open this file as a picture. Save it as PNG or JPEG.',
  notReached: 'The server cannot be reached.',
  notAnImage: 'This file is not a supported picture. Save it as PNG or JPEG.',
  damaged: 'This picture is damaged or incomplete.',

  /** @param {number} size of the file, bytes */
  tooHeavy: (size) => `This file is too large (${megabytes.format(size / 1e6)}). Choose a smaller one.`,

  /**
   * What went wrong on a server, for people: its own messages are for programs.
   * @param {{type?: string, title?: string, detail?: string}} problem as in RFC 9457
   * @param {number} status
   * @param {number} size of the file that was sent, bytes
   * @param {number} wait seconds until the server says to try again; 0 if it does not say
   * @returns {string | undefined} undefined if the server did not say
   */
  problem({ type, title, detail }, status, size, wait) {
    const again = wait ? `in ${wait === 1 ? '1 second' : `${wait} seconds`}` : 'in a moment';
    /** @type {Record<string, string>} */
    const sentences = {
      'not-an-image': text.notAnImage,
      'unsupported-media-type': text.notAnImage,
      'unreadable-image': text.damaged,
      'image-too-large': 'This picture has too many pixels. Scale it down.',
      'body-too-large': text.tooHeavy(size),
      'not-found': 'There is no inkdigits server at this address.',
      unauthorized: 'This server needs an API key, which this page cannot send.',
      'rate-limited': `Too many requests. Try again ${again}.`,
      overloaded: `The server is busy. Try again ${again}.`,
      'not-ready': `The server is still starting. Try again ${again}.`,
      'internal-error': 'Something went wrong on the server.',
    };
    const known = sentences[String(type).split('#')[1]];
    if (known) return known;
    const other = detail ?? title;
    return other ? text.problemOther(other) : status === 413 ? text.tooHeavy(size) : undefined;
  },

  /** @param {string} detail in the server's words */
  problemOther: (detail) => `${detail[0].toUpperCase()}${detail.slice(1)}.`,

  /** @param {string} name */
  notFetched: (name) => `The download of ${name} failed.`,

  otherModel: 'The downloaded model is damaged. Reload the page.',
  otherNormalisation: 'This page is older than its model. Reload the page.',
  serverOnly: 'This model runs only on the server.',

  /** @param {string} reason */
  deviceMissing: (reason) => `Cannot read on this device. ${reason}`,

  /**
   * @param {number} done
   * @param {number} all
   * @param {number} notDigits
   * @param {number} failed
   */
  progress(done, all, notDigits, failed) {
    const pictures = all === 1 ? '1 picture' : `${all} pictures`;
    const read = done < all ? `${done} of ${pictures} done` : `${pictures} done`;
    const none = notDigits ? `, ${notDigits === 1 ? '1 is not a digit' : `${notDigits} are not digits`}` : '';
    return failed ? `${read}${none}, ${failed} could not be read` : read + none;
  },

  itemWaiting: 'Waiting',
  itemReading: 'Reading…',
  /** @param {string | null | undefined} reason why a picture is rejected */
  item: (reason) => reason ?? 'not a digit',

  /** @param {string} name */
  retryNamed: (name) => `Retry ${name}`,

  /** @param {string} reason */
  broken: (reason) => `This page cannot start. ${reason}`,

  /**
   * @param {string} label "" for what is no digit or number
   * @param {boolean} isNumber
   */
  noted: (label, isNumber) => `Noted: ${label || (isNumber ? text.notNumber : text.notDigit).toLowerCase()}`,

  /** @param {string} answer */
  readAs: (answer) => `It was read as ${answer}`,

  /** @param {number} count */
  corrections: (count) => (count === 1 ? '1 correction' : `${count} corrections`),

  /** @param {number} count */
  adapted: (count) => `Adapted to your hand, ${text.corrections(count)}`,

  /** @param {number} count */
  notAdapted: (count) => (count ? `${text.corrections(count)}; answers follow once they help` : 'No corrections yet'),

  /** @param {number} count */
  handOff: (count) => (count ? `Off, ${text.corrections(count)} kept` : 'Off'),

  /** @param {string} reason */
  feedbackRejected: (reason) => `The server did not take the correction: ${reason}`,

  /**
   * A digit of a number, on the pad.
   * @param {string} char
   * @param {number} place from 1
   * @param {number} count
   */
  markNamed: (char, place, count) => `Correct ${char}, ${place} of ${count}`,

  /** @param {boolean} mac */
  shortcuts: (mac) => [
    { name: text.undo, keys: mac ? ['⌘', 'Z'] : ['Ctrl', 'Z'] },
    { name: text.redo, keys: mac ? ['⇧', '⌘', 'Z'] : ['Ctrl', 'Shift', 'Z'] },
    { name: text.clear, keys: ['Delete'] },
    { name: text.eraser, keys: ['E'] },
    { name: text.predict, keys: ['Enter'] },
    { name: text.wrong, keys: ['W'] },
    { name: text.drawKeys, keys: ['Tab', '←↑↓→', 'Space'] },
  ],
};

/**
 * Put the strings into the elements that ask for them.
 * @param {ParentNode} root
 */
export function fillTexts(root) {
  const valueOf = (/** @type {string | undefined} */ key) =>
    String(/** @type {Record<string, unknown>} */ (text)[key ?? '']);
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll('[data-text]'))) {
    element.textContent = valueOf(element.dataset.text);
  }
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll('[data-label]'))) {
    element.ariaLabel = valueOf(element.dataset.label);
    if (element instanceof HTMLButtonElement) element.title = valueOf(element.dataset.label);
  }
}
