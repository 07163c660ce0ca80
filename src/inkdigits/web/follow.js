/**
 * Following: keep the answer after a drawing that goes on changing, and the page after a server that comes and goes.
 */

const FRESH = 150; // milliseconds; an answer older than this to a drawing that has since grown is not shown
const FIRST_DELAY = 500; // milliseconds until the server is tried again; doubled with each failure
const LONGEST_DELAY = 5_000; // milliseconds
const GONE_AFTER = 2; // failures in a row
const JITTER = 0.25; // of the delay, at random, so that many pages do not return in step

/**
 * Asks for the newest drawing, with at most one question under way. What came in between is skipped, and an answer to a
 * drawing that is no longer there is dropped.
 * @template T
 */
export class Follower {
  /** @type {{started: number, grown: boolean, stale: boolean, again: boolean} | null} */
  #turn = null;

  /**
   * @param {object} calls
   * @param {() => Promise<T>} calls.ask about the drawing as it is now
   * @param {(answer: T) => void} calls.answered
   * @param {(error: unknown) => void} calls.failed
   * @param {(isBusy: boolean) => void} calls.busy whether a question is under way
   */
  constructor({ ask, answered, failed, busy }) {
    this.ask = ask;
    this.answered = answered;
    this.failed = failed;
    this.busy = busy;
  }

  /** The drawing grew: an answer under way is of its beginning, which is worth showing while it is fresh. */
  grown() {
    if (this.#turn) this.#turn.grown = this.#turn.again = true;
    else this.#run();
  }

  /** The drawing is another one: an answer under way is of one that is gone. */
  changed() {
    if (this.#turn) this.#turn.stale = this.#turn.again = true;
    else this.#run();
  }

  /** There is nothing to ask about any more. */
  stop() {
    if (this.#turn) Object.assign(this.#turn, { stale: true, again: false });
  }

  async #run() {
    const turn = { started: performance.now(), grown: false, stale: false, again: false };
    this.#turn = turn;
    this.busy(true);
    try {
      const answer = await this.ask();
      const late = turn.grown && performance.now() - turn.started > FRESH;
      if (!turn.stale && !late) this.answered(answer);
    } catch (error) {
      this.failed(error);
    }
    this.#turn = null;
    if (turn.again) this.#run();
    else this.busy(false);
  }
}

/**
 * Whether the server answers. `state` is "connecting", "up" or "down"; the event `change` tells of another state,
 * `back` that the server is ready again, so that what failed can be asked anew, and `gone` that it stays away.
 */
export class Connection extends EventTarget {
  /** @type {'connecting' | 'up' | 'down'} */
  state = 'connecting';
  #failures = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {() => Promise<boolean>} ready asks the server for a sign of life */
  constructor(ready) {
    super();
    this.ready = ready;
  }

  /** Try the server now, unless a trial is under way. */
  retryNow() {
    if (this.#timer !== undefined) this.probe();
  }

  /** Ask for a sign of life. */
  async probe() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (await this.ready()) this.dispatchEvent(new Event('back'));
    else this.failed();
  }

  /** A question was answered. One that failed meanwhile still waits for `back`, so the timer goes on. */
  worked() {
    this.#failures = 0;
    this.#setState('up');
  }

  /** A question was not answered. */
  failed() {
    if (this.#timer !== undefined) return;
    const delay = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.#failures);
    this.#failures += 1;
    this.#timer = setTimeout(() => this.retryNow(), delay * (1 + JITTER * (2 * Math.random() - 1)));
    this.#setState('down');
    if (this.#failures >= GONE_AFTER) this.dispatchEvent(new Event('gone'));
  }

  /** @param {'up' | 'down'} state */
  #setState(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event('change'));
  }
}
