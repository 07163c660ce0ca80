/** The answer as shown: the digit, how sure, the ten bars, and the network's input; or the numbers in their place. */

import { element, find, reducedMotion } from './controls.js';
import { NumbersView } from './numbers.js';
import { isDigit } from './result.js';
import { text } from './strings.js';

/** @typedef {import('./types.js').Prediction} Prediction */
/** @typedef {import('./types.js').Guarantee} Guarantee */

const NO_DIGIT = '–';
const WORTH_NAMING = 0.001; // probability from which the second digit is named
const SPEECH_DELAY = 700; // milliseconds; until the answer is announced: not while the pen moves
const STALE_AFTER = 150; // milliseconds without a newer answer, after which the old one is grayed
const FULL_SCALE = 255; // of the image's pixels

/** Shows one answer. */
export class AnswerView {
  #speech = 0;
  #graying = 0;
  #numbers = new NumbersView();
  /** @type {Guarantee | null} what the model's profile promises of its answers; null: nothing */
  guarantee = null;
  #elements = {
    panel: find('answer', HTMLElement),
    digit: find('digit', HTMLElement),
    confidence: find('confidence', HTMLElement),
    runnerUp: find('runner-up', HTMLElement),
    promise: find('promise', HTMLElement),
    bars: find('bars', HTMLElement),
    seen: find('seen', HTMLCanvasElement),
    seenText: find('seen-text', HTMLElement),
    speech: find('speech', HTMLElement),
  };

  constructor() {
    this.#elements.bars.replaceChildren(...Array.from({ length: 10 }, (_, digit) => bar(digit)));
    this.#show(null);
  }

  /** @param {Prediction} answer */
  show(answer) {
    this.#show(answer);
    if (answer.digit === null) return this.say(text.blank);
    const spoken = spokenOf(answer, answer.digit);
    clearTimeout(this.#speech);
    this.#speech = setTimeout(() => {
      this.#elements.speech.textContent = spoken;
    }, SPEECH_DELAY);
  }

  /**
   * Show what it is, as the user says.
   * @param {Prediction} said
   * @param {string} before what it was read as; "" if it was rejected
   */
  correct(said, before) {
    this.#show(said);
    for (const name of ['confidence', 'numbers-confidence']) {
      find(name, HTMLElement).replaceChildren(span('words', text.corrected));
    }
    const words = before ? text.readAs(before) : text.wasRejected;
    this.#elements.runnerUp.replaceChildren(span('other', words));
    this.#elements.promise.replaceChildren();
    find('alternatives', HTMLElement).replaceChildren(element('li', { textContent: words }));
  }

  /**
   * Show why there is no answer.
   * @param {string} words
   */
  say(words) {
    this.#show(null);
    this.#elements.runnerUp.replaceChildren(span('other', words));
  }

  /** The drawing has changed: gray out the old answer if the new one takes long. */
  expect() {
    this.#graying ||= setTimeout(() => this.#elements.panel.classList.add('stale'), STALE_AFTER);
  }

  /** @param {boolean} isBusy a request is under way, so the answer shown is of an earlier drawing */
  busy(isBusy) {
    this.#elements.panel.setAttribute('aria-busy', String(isBusy));
  }

  /** @param {Prediction | null} answer */
  #show(answer) {
    const { panel, digit, confidence, runnerUp, promise, bars } = this.#elements;
    clearTimeout(this.#graying);
    clearTimeout(this.#speech);
    if (!answer) this.#elements.speech.textContent = '';
    this.#graying = 0;
    panel.classList.remove('stale');
    const reading = answer?.reading ?? null;
    this.#numbers.show(reading);
    panel.classList.toggle('of-numbers', reading !== null);
    const known = answer && answer.digit !== null && !reading ? answer : null;
    panel.classList.toggle('empty', !known);
    panel.classList.toggle('doubtful', reading ? !reading.is_number : known !== null && !isDigit(known));
    const numeral = known ? String(known.digit) : NO_DIGIT;
    if (digit.textContent !== numeral) {
      digit.textContent = numeral;
      digit.getAnimations().forEach((animation) => animation.cancel());
      if (known && !reducedMotion()) {
        digit.animate(
          { transform: ['scale(1.06)', 'none'], opacity: [0.55, 1] },
          { duration: 160, easing: 'ease-out' },
        );
      }
    }
    confidence.replaceChildren(...(known ? verdict(known) : []));
    runnerUp.replaceChildren(...(known ? [span('other', runnerUpOf(known))] : []));
    promise.replaceChildren(...(known && this.guarantee ? [span('', promiseOf(known, this.guarantee))] : []));
    [...bars.children].forEach((item, each) => setBar(item, known?.probabilities[each] ?? 0, known?.digit === each));
    this.#showSeen(known?.image);
  }

  /** @param {number[][] | undefined} rows 0–255 */
  #showSeen(rows) {
    const { seen, seenText } = this.#elements;
    const context = seen.getContext('2d');
    seen.classList.toggle('empty', !rows);
    seenText.textContent = rows ? text.seenMore : text.seenEmpty;
    if (!context) return;
    context.clearRect(0, 0, seen.width, seen.height);
    if (!rows) return;
    context.fillStyle = getComputedStyle(seen).color;
    rows.forEach((row, y) =>
      row.forEach((value, x) => {
        context.globalAlpha = value / FULL_SCALE;
        context.fillRect(x, y, 1, 1);
      }),
    );
    context.globalAlpha = 1;
  }
}

/**
 * @param {Prediction} answer
 * @param {number} digit
 */
function spokenOf(answer, digit) {
  const { reading, confidence, reason } = answer;
  if (reading) return text.spokenNumbers(reading.text.split('\n'), reading.confidence, reading.is_number);
  return isDigit(answer) ? text.spoken(digit, confidence) : text.spokenRejected(text.noDigitBecause(reason, digit));
}

/** @param {Prediction} answer */
function runnerUpOf(answer) {
  const { digit, probabilities } = answer;
  if (!isDigit(answer) && digit !== null) return text.noDigitBecause(answer.reason, digit)[1];
  const others = probabilities.map((probability, each) => ({ probability, each })).filter(({ each }) => each !== digit);
  const next = others.reduce((best, other) => (other.probability > best.probability ? other : best));
  return next.probability >= WORTH_NAMING ? text.runnerUp(next.each, next.probability) : text.noOther;
}

/**
 * @param {Prediction} answer
 * @param {Guarantee} guarantee
 */
function promiseOf(answer, guarantee) {
  if (answer.adapted) return text.promiseNotAdapted;
  const isSure = answer.is_sure ?? (isDigit(answer) && answer.confidence >= guarantee.threshold);
  return isSure ? text.promise(guarantee.error) : text.noPromise;
}

/** @param {Prediction} answer */
function verdict(answer) {
  if (!isDigit(answer)) return [span('words', text.noDigitBecause(answer.reason, answer.digit ?? 0)[0])];
  const { confidence } = answer;
  return [span('words', text.certainty(confidence)), ' ', span('percent', text.percent(confidence))];
}

/**
 * @param {string} className
 * @param {string} textContent
 */
const span = (className, textContent) => element('span', { className, textContent });

/** @param {number} digit */
function bar(digit) {
  const item = element('li');
  const track = span('track', '');
  track.append(span('fill', ''));
  item.append(span('name', String(digit)), track, span('value', ''));
  return item;
}

/**
 * @param {Element} item
 * @param {number} probability
 * @param {boolean} wins
 */
function setBar(item, probability, wins) {
  const [, track, value] = /** @type {HTMLElement[]} */ ([...item.children]);
  /** @type {HTMLElement} */ (track.firstElementChild).style.transform = `scaleY(${probability})`;
  // A new element each time: one that stays would count as a layout shift.
  value.replaceChildren(span('figure', text.percent(probability)));
  item.classList.toggle('wins', wins);
  item.classList.toggle('slight', probability < 0.005);
}
