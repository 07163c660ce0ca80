/** Every word the page says, in one place, so that it can be said in another language. */

const percentage = new Intl.NumberFormat('en', { style: 'percent', maximumFractionDigits: 1 });
const precise = new Intl.NumberFormat('en', { style: 'percent', minimumFractionDigits: 2 });
const megabytes = new Intl.NumberFormat('en', { style: 'unit', unit: 'megabyte', maximumSignificantDigits: 2 });
const date = new Intl.DateTimeFormat('en', { dateStyle: 'long', timeZone: 'UTC' });
const SURE = 0.999; // from here on, more digits would claim more than a calibration can hold

/**
 * The texts of the page. `data-text="key"` in its HTML takes the one named `key` as content, `data-label="key"` as
 * accessible name.
 */
export const text = {
  pad: 'Drawing pad',
  padHelp: 'Arrow keys move the pen, Shift makes the steps small, the space bar puts it down and lifts it.',
  penDown: 'Pen down',
  penUp: 'Pen up',
  hint: 'Draw a digit',
  hintMore: '0 to 9, any size, anywhere on the sheet',
  undo: 'Undo',
  redo: 'Redo',
  clear: 'Clear',
  predict: 'Predict',
  penWidth: 'Pen width',
  darkPaper: 'Dark paper',
  eraser: 'Eraser',
  answer: 'Answer',
  bars: 'How likely each digit is',
  seen: 'What the network saw',
  seenCanvas: 'Your digit as 28 by 28 pixels',
  seenMore:
    'Your ink, cut out, scaled and centred by its weight on 28\u00a0×\u00a028 pixels. This is all the network gets.',
  seenEmpty: 'It appears here with the answer: your digit as the network gets it, in 28\u00a0×\u00a028 pixels.',
  why: 'Why this digit',
  whyFor: 'Red ink spoke for it',
  whyAgainst: 'blue ink against it',
  whyMore: 'Each part is wiped out in turn, and the network asked again how sure it is. Colors show what changed its mind.',
  about: 'About',
  aboutModel: 'Model',
  aboutVersion: 'Version',
  aboutTrained: 'Trained',
  aboutRead: 'Read right',
  aboutNoDigit: 'No digit',
  aboutWhere: 'Reads',
  aboutNothing: 'Nobody has answered yet',
  refusesIt: 'is told apart from digits',
  takesForDigit: 'is taken for the nearest digit',
  onServer: 'on the server',
  onThisDevice: 'on this device',
  card: 'Model card',
  figures: 'All figures',
  /** @type {Record<string, string>} */
  sets: {
    mnist: 'MNIST test digits',
    digits: 'scans in scikit-learn',
    pen: 'pen drawings by people it never met',
  },
  curl: 'The same by command line',
  curlMore: 'This line asks the server for the very drawing on the pad.',
  copy: 'Copy',
  copied: 'Copied',
  notCopied: 'Not allowed here: select the line and copy it',
  onDevice: 'On this device',
  onDeviceMore: 'Nothing you draw or choose leaves it',
  files: 'Images of digits',
  choose: 'Choose images',
  photo: 'Take a photo',
  chooseMore: 'or drop or paste them anywhere. Photos and scans, as many as you like.',
  drop: 'Drop the images to read them',
  results: 'Images',
  saveCsv: 'Save as CSV',
  clearFiles: 'Clear list',
  columnImage: 'Image',
  columnName: 'Name',
  columnDigit: 'Digit',
  columnConfidence: 'Confidence',
  sortConfidence: 'Sort by confidence',
  progressBar: 'Images read',
  retry: 'Retry',
  api: 'HTTP API',

  connecting: 'Connecting…',
  ready: 'Ready: the answer follows your pen',
  drawFirst: 'Draw a digit first',
  away: 'The server does not answer. Trying again…',
  deviceLoading: 'Fetching the reader for this device…',
  deviceReady: 'Ready on this device: the answer follows your pen',
  deviceStandsIn: 'The server does not answer: reading on this device',
  newVersion: 'A new version of this page is here',
  useNew: 'Use it',
  csvName: 'digits.csv',

  waiting: 'The answer appears as you draw',
  blank: 'No ink to read yet',
  noDigit: 'This does not look like a digit',
  awayMore: 'Nothing is lost: the answer comes as soon as the server does',
  switchOff: 'Switch “On this device” off, and the server reads',
  drawKeys: 'Draw by keyboard',
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

  /** @param {number} digit */
  nearest: (digit) => `Nearest is ${digit}`,

  /**
   * What a screen reader says of an answer.
   * @param {number} digit
   * @param {number} confidence
   */
  spoken: (digit, confidence) => `${digit}. ${text.certainty(confidence)}, ${text.percent(confidence)}.`,

  /** @param {number} nearest digit */
  spokenNoDigit: (nearest) => `${text.noDigit}. ${text.nearest(nearest)}.`,

  /** @param {string} model */
  readBy: (model) => `Read by the model “${model}”`,

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

  /** @param {string} moment as ISO 8601 has it */
  date: (moment) => date.format(new Date(moment)),

  /**
   * @param {number} width
   * @param {number} height
   * @param {number} least
   */
  tooSmall: (width, height, least) =>
    `the image is ${width}×${height} pixels; at least one side must have ${least}`,

  /**
   * @param {number} width
   * @param {number} height
   * @param {number} most
   */
  tooLarge: (width, height, most) =>
    `the image is ${width}×${height} pixels; at most ${most.toLocaleString('en')} are read: scale it down`,

  noCanvas: 'this browser has no canvas to draw on',

  /** @param {string} address */
  notHttp: (address) => `the server's address must be http or https, not ${address}`,

  /** @param {number} seconds */
  noAnswer: (seconds) => `no answer within ${seconds} s`,

  emptyFile: 'the file is empty',
  notShown: 'this browser cannot open it as an image; save it as PNG or JPEG',
  notReached: 'the server cannot be reached',
  notAnImage: 'this file type is not supported; save it as PNG or JPEG',
  damaged: 'the image is damaged or incomplete',

  /** @param {number} size of the file, bytes */
  tooHeavy: (size) => `the file has ${megabytes.format(size / 1e6)}, more than the server takes; choose a smaller one`,

  /**
   * What a server said is wrong, in words for who sees this page: its own are for programs.
   * @param {{type?: string, title?: string, detail?: string}} told by the server, as RFC 9457 has it
   * @param {number} status
   * @param {number} size of the file that was sent, bytes
   * @returns {string | undefined} undefined where it said nothing
   */
  problem({ type, title, detail }, status, size) {
    /** @type {Record<string, string>} */
    const words = {
      'not-an-image': text.notAnImage,
      'unsupported-media-type': text.notAnImage,
      'unreadable-image': text.damaged,
      'body-too-large': text.tooHeavy(size),
      'not-found': 'there is no inkdigits server at this address',
      unauthorized: 'this server needs an API key',
      'rate-limited': 'too many at once for the server; try again in a moment',
      overloaded: 'the server has too much to do; try again in a moment',
      'not-ready': 'the server is not ready',
      'internal-error': 'the server failed',
    };
    return words[String(type).split('#')[1]] ?? detail ?? title ?? (status === 413 ? text.tooHeavy(size) : undefined);
  },

  /**
   * @param {string} name
   * @param {string} reason
   */
  notFetched: (name, reason) => `${name} cannot be fetched: ${reason}`,

  /**
   * @param {string} found
   * @param {string} expected
   */
  otherModel: (found, expected) =>
    `the model came damaged: its SHA-256 starts with ${found}, not ${expected}; reload the page`,

  /**
   * @param {string} found
   * @param {string} expected
   */
  otherNormalisation: (found, expected) =>
    `the model is for normalisation ${found}, this page has ${expected}; reload the page`,

  /** @param {string} reason */
  deviceMissing: (reason) => `Cannot read on this device: ${reason}`,

  /**
   * @param {number} done
   * @param {number} all
   * @param {number} notDigits
   * @param {number} failed
   */
  progress(done, all, notDigits, failed) {
    const images = all === 1 ? '1 image' : `${all} images`;
    const read = done < all ? `${done} of ${images} done` : `${images} done`;
    const none = notDigits ? `, ${notDigits === 1 ? '1 is not a digit' : `${notDigits} are not digits`}` : '';
    return failed ? `${read}${none}, ${failed} could not be read` : read + none;
  },

  itemWaiting: 'Waiting',
  itemReading: 'Reading…',
  itemBlank: 'blank',
  itemNoDigit: 'not a digit',

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
    { name: text.eraser, keys: ['E'] },
    { name: text.predict, keys: ['Enter'] },
    { name: text.drawKeys, keys: ['Tab', '←↑↓→', 'Space'] },
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
