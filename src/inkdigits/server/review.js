/** The review page: shows one correction at a time, and sends a verdict by key or by touch. */

// @ts-check

import { STATUSES, element, input, named, percent, showCard, text } from './review-card.js';

/**
 * @typedef {import('./review-card.js').Item} Item
 * @typedef {{item: Item, group: boolean}} Done
 * @typedef {{status: string, final: string | null, label: string, answer: string, decided: number}} Decision
 * @typedef {{statuses: Record<string, number>, queues: Record<string, number>, counted: number, status_counted: number, today: number,
 *   agreement: {reviewers: [string, string], both: number, same: number, kappa: number | null}[]}} Progress
 */

const READ_AGAIN_MS = 50; // between questions while the model reads again
const KEY = 'inkdigits.review.key';
const NAME = 'inkdigits.review.name';
const QUEUE = 'inkdigits.review.queue';

/** @type {Record<string, string>} */
const QUEUES = {
  held: 'Held',
  suspected: 'Suspected',
  disputed: 'Disputed',
  'least-sure': 'Least sure',
  changed: 'Changed',
  duplicates: 'Duplicates',
  audit: 'Audit',
  second: 'Second look',
};

/** @type {Item | null} */
let item = null;
/** @type {Done[]} what can be taken back */
const done = [];
let queue = stored('localStorage', QUEUE) ?? 'held';
let busy = false;
/** @type {Promise<void>} of what is under way */
let running = Promise.resolve();

/**
 * @param {'localStorage' | 'sessionStorage'} storage
 * @param {string} name
 */
function stored(storage, name) {
  try {
    return window[storage].getItem(name);
  } catch {
    return null; // storage is off
  }
}

/**
 * @param {'localStorage' | 'sessionStorage'} storage
 * @param {string} name
 * @param {string} value
 */
function store(storage, name, value) {
  try {
    window[storage].setItem(name, value);
  } catch {
    // Storage is off: it is asked for again.
  }
}

const me = { name: stored('localStorage', NAME) ?? '', key: stored('sessionStorage', KEY) ?? '' };

/**
 * Ask the server.
 * @param {string} path below /review/
 * @param {object} [body]
 * @returns {Promise<any>}
 */
async function ask(path, body) {
  const headers = { Authorization: `Bearer ${me.key}`, 'Content-Type': 'application/json' };
  const options = body ? { method: 'POST', body: JSON.stringify({ ...body, reviewer: me.name }) } : {};
  const response = await fetch(`review/${path}`, { ...options, headers, cache: 'no-store' });
  const answer = await response.json();
  if (response.ok) return answer;
  throw Object.assign(new Error(answer.detail), { status: response.status });
}

/**
 * Do one thing at a time, and say what went wrong. A key that is pressed meanwhile was meant for what is shown no more.
 * @param {() => Promise<void>} work
 */
function one(work) {
  if (busy) return;
  busy = true;
  running = work()
    .catch(failed)
    .finally(() => {
      busy = false;
    });
}

/**
 * Do what does not depend on what is shown, once what is under way is done.
 * @param {() => Promise<void>} work
 */
async function later(work) {
  while (busy) await running;
  one(work);
}

/** @param {Error & {status?: number}} error */
function failed({ status, message }) {
  if (status === 401) leave(text.refused);
  else say(status ? `${message[0].toUpperCase()}${message.slice(1)}` : text.away, true);
}

/**
 * @param {string} message
 * @param {boolean} [isWrong]
 */
function say(message, isWrong = false) {
  element('message').textContent = message;
  element('message').classList.toggle('wrong', isWrong);
}

/** @param {string} [why] */
function leave(why = '') {
  me.key = '';
  store('sessionStorage', KEY, '');
  item = null;
  done.length = 0;
  enter();
  say(why, Boolean(why));
}

function enter() {
  const inside = Boolean(me.key && me.name);
  element('enter').hidden = inside;
  for (const id of ['desk', 'leave', 'undo']) element(id).hidden = !inside;
  element('card').hidden = true;
  /** @type {HTMLInputElement} */ (element('key')).value = '';
  /** @type {HTMLInputElement} */ (element('name')).value = me.name;
  if (!inside) element(me.name ? 'key' : 'name').focus();
}

/** @param {Item | null} found */
function show(found) {
  item = found;
  element('card').hidden = !found;
  element('empty').hidden = Boolean(found);
  element('empty').textContent = text.nothing;
  /** @type {HTMLButtonElement} */ (element('undo')).disabled = !done.length;
  if (found) showCard(found);
}

/** Show the next correction of the queue. */
async function next() {
  for (;;) {
    const found = await ask(`next?${new URLSearchParams({ queue, reviewer: me.name })}`);
    show(found.item);
    if (found.item || !found.reading) break;
    element('empty').textContent = text.reading;
    await new Promise((resolve) => setTimeout(resolve, READ_AGAIN_MS));
  }
  void count();
}

/** Show how many corrections each queue has. */
async function count() {
  try {
    report(await ask(`progress?${new URLSearchParams({ reviewer: me.name })}`));
  } catch (error) {
    failed(/** @type {Error} */ (error));
  }
}

/** @param {Progress} progress */
function report(progress) {
  const { statuses, counted, status_counted: most } = progress;
  const parts = Object.entries(STATUSES).map(([name, word]) => {
    const size = statuses[name] ?? 0;
    return `${size.toLocaleString('en')}${size < most ? '' : '+'} ${word}`;
  });
  element('progress').textContent = `${parts.join(', ')}. You: ${progress.today} in the last day.`;
  for (const [name, button] of buttons) {
    const size = progress.queues[name] ?? 0;
    const small = button.querySelector('small') ?? button.appendChild(document.createElement('small'));
    small.textContent = size >= counted ? `${counted}+` : String(size);
  }
  element('agreement').hidden = !progress.agreement.length;
  element('pairs').replaceChildren(
    ...progress.agreement.map(({ reviewers, both, same, kappa }) => {
      const row = document.createElement('tr');
      const heading = document.createElement('th');
      heading.scope = 'row';
      heading.textContent = reviewers.join(', ');
      const values = [String(both), percent.format(same / both), kappa === null ? '–' : kappa.toFixed(2)];
      row.append(heading, ...values.map((value) => Object.assign(document.createElement('td'), { textContent: value })));
      return row;
    }),
  );
}

/** @param {string} name */
function choose(name) {
  queue = name;
  store('localStorage', QUEUE, name);
  for (const [each, button] of buttons) button.ariaPressed = String(each === name);
  say('');
  void later(next);
}

/**
 * @param {'accept' | 'relabel' | 'reject' | 'skip'} verdict
 * @param {string} [label]
 */
function decide(verdict, label) {
  const shown = item;
  if (!shown) return;
  const isGroup = Boolean(shown.group?.length) && verdict !== 'skip';
  one(async () => {
    const body = { verdict, ...(verdict === 'relabel' && { label }), ...(isGroup && { group: true }) };
    try {
      const decision = await ask(String(shown.row), body);
      done.push({ item: shown, group: isGroup });
      say(verdict === 'skip' ? text.skipped : told(decision, shown));
    } catch (error) {
      if (/** @type {{status?: number}} */ (error).status !== 404) throw error;
      say(text.gone);
    }
    await next();
  });
}

/**
 * What has become of a correction; of a blind one also what was hidden.
 * @param {Decision} decision
 * @param {Item} shown
 */
function told({ status, final, label, answer, decided }, shown) {
  const word = status === 'held' ? 'Held: reviewers differ' : `${STATUSES[status][0].toUpperCase()}${STATUSES[status].slice(1)}`;
  const as = status === 'accepted' || status === 'relabeled' ? ` as ${named(final, shown)}` : '';
  const many = decided > 1 ? `, ${decided} together` : '';
  const hidden = shown.blind ? `. It was sent as ${named(label, shown)}, and read as ${named(answer, shown)}` : '';
  return `${word}${as}${many}${hidden}.`;
}

function undo() {
  void later(async () => {
    const last = done.at(-1);
    if (!last) return;
    await ask(String(last.item.row), { verdict: 'undo', ...(last.group && { group: true }) });
    done.pop();
    show(last.item);
    say(text.undone);
    void count();
  });
}

function accept() {
  if (!item) return;
  if (item.reading === 'number') decide('relabel', input.value.trim());
  else if (!(/** @type {HTMLButtonElement} */ (element('accept')).disabled)) decide('accept');
}

/** @param {KeyboardEvent} event */
function press(event) {
  if (element('desk').hidden || event.altKey || event.metaKey || event.repeat) return;
  const { key, target } = event;
  if (target === input) {
    if (key === 'Escape') input.blur();
    return; // Enter submits the form
  }
  if ((event.ctrlKey && key !== 'z') || (event.ctrlKey && target instanceof HTMLInputElement)) return;
  if (key === 'Enter' && target instanceof HTMLButtonElement) return; // presses the button
  if (item && /^[0-9]$/.test(key)) {
    if (item.reading === 'digit') return act(event, () => decide('relabel', key));
    input.value = '';
    input.focus(); // and the digit goes there
    return;
  }
  /** @type {Record<string, () => void>} */
  const keys = {
    Enter: accept,
    Backspace: () => decide('reject'),
    Delete: () => decide('reject'),
    n: () => decide('relabel', ''),
    s: () => decide('skip'),
    u: undo,
    z: undo,
  };
  const does = keys[key.length === 1 ? key.toLowerCase() : key];
  if (does) act(event, does);
}

/**
 * @param {KeyboardEvent} event
 * @param {() => void} does
 */
function act(event, does) {
  event.preventDefault();
  does();
}

const buttons = Object.entries(QUEUES).map(([name, title]) => {
  const button = Object.assign(document.createElement('button'), { type: 'button', textContent: title });
  button.dataset.testid = `queue-${name}`;
  button.addEventListener('click', () => choose(name));
  return /** @type {const} */ ([name, button]);
});
element('queues').append(...buttons.map(([, button]) => button));
element('digits').replaceChildren(
  ...['1', '2', '3', '4', '5', '6', '7', '8', '9', '0', ''].map((digit) => {
    const button = Object.assign(document.createElement('button'), { type: 'button' });
    button.append(digit || 'Not a digit ');
    button.classList.toggle('none', !digit);
    if (!digit) button.append(Object.assign(document.createElement('kbd'), { textContent: 'N' }));
    button.dataset.testid = `digit-${digit || 'none'}`;
    button.addEventListener('click', () => decide('relabel', digit));
    return button;
  }),
);
element('accept').addEventListener('click', accept);
element('reject').addEventListener('click', () => decide('reject'));
element('skip').addEventListener('click', () => decide('skip'));
element('undo').addEventListener('click', undo);
element('leave').addEventListener('click', () => later(async () => leave()));
element('number').addEventListener('submit', (event) => {
  event.preventDefault();
  accept();
});
element('enter').addEventListener('submit', (event) => {
  event.preventDefault();
  me.name = /** @type {HTMLInputElement} */ (element('name')).value.trim();
  me.key = /** @type {HTMLInputElement} */ (element('key')).value.trim();
  store('localStorage', NAME, me.name);
  store('sessionStorage', KEY, me.key);
  say('');
  enter();
  one(next);
});
document.addEventListener('keydown', press);

if (!Object.hasOwn(QUEUES, queue)) queue = 'held';
for (const [name, button] of buttons) button.ariaPressed = String(name === queue);
enter();
if (me.key && me.name) one(next);
