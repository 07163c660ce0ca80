/** Keeps the answer up to date while the drawing changes, and the page while the server comes and goes. */

const FRESH = 150; // milliseconds; an answer that took longer is not shown if the drawing has grown since
const FIRST_DELAY = 500; // milliseconds until the server is tried again; doubled with each failure
const LONGEST_DELAY = 5_000; // milliseconds
const GONE_AFTER = 2; // failures in a row
const JITTER = 0.25; // of the delay, at random, so that many pages do not retry in step

/**
 * Requests an answer to the newest drawing, one request at a time. Drawings in between are skipped, and an answer to a
 * drawing that is gone is dropped.
 * @template T
 */
export class Follower {
  /** @type {{started: number, grown: boolean, stale: boolean, again: boolean, change: AbortController} | null} */
  #turn = null;

  /**
   * @param {object} calls
   * @param {(show: (answer: T) => void, changed: AbortSignal) => Promise<T>} calls.ask for an answer to the current
   *   drawing; `show` takes one that may be all there is, `changed` tells when the drawing is another
   * @param {(answer: T) => void} calls.answered
   * @param {(error: unknown) => void} calls.failed
   * @param {(isBusy: boolean) => void} calls.busy whether a request is under way
   */
  constructor({ ask, answered, failed, busy }) {
    this.ask = ask;
    this.answered = answered;
    this.failed = failed;
    this.busy = busy;
  }

  /** The drawing grew: an answer under way is to an earlier state of it, and is shown while it is fresh. */
  grown() {
    this.#next({ grown: true, again: true });
  }

  /** The drawing was replaced: an answer under way is dropped. */
  changed() {
    this.#next({ stale: true, again: true });
  }

  /** The drawing is empty: an answer under way is dropped, and no other is requested. */
  stop() {
    if (this.#turn) this.#next({ stale: true, again: false });
  }

  /** @param {{grown?: boolean, stale?: boolean, again: boolean}} how the drawing changed */
  #next(how) {
    if (!this.#turn) return this.#run();
    Object.assign(this.#turn, how).change.abort();
  }

  async #run() {
    const change = new AbortController();
    const turn = { started: performance.now(), grown: false, stale: false, again: false, change };
    /** @type {T | undefined} */
    let shown;
    const show = (/** @type {T} */ answer) => {
      const late = turn.grown && performance.now() - turn.started > FRESH;
      if (answer !== shown && !turn.stale && !late) this.answered((shown = answer));
    };
    this.#turn = turn;
    this.busy(true);
    try {
      show(await this.ask(show, change.signal));
    } catch (error) {
      this.failed(error);
    }
    this.#turn = null;
    if (turn.again) this.#run();
    else this.busy(false);
  }
}

/**
 * Whether the server responds. `state` is "connecting", "up" or "down". Events: `change` of the state; `back` when the
 * server is ready again, so that failed requests can be repeated; `gone` when it stays away.
 */
export class Connection extends EventTarget {
  /** @type {'connecting' | 'up' | 'down'} */
  state = 'connecting';
  #failures = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {() => Promise<boolean>} ready asks the server whether it is ready */
  constructor(ready) {
    super();
    this.ready = ready;
  }

  /** Probe now, unless a probe is under way. */
  retryNow() {
    if (this.#timer !== undefined) this.probe();
  }

  /** Ask whether the server is ready. */
  async probe() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (await this.ready()) this.dispatchEvent(new Event('back'));
    else this.failed();
  }

  /** A request succeeded. Another that failed meanwhile still waits for `back`, so the timer keeps running. */
  worked() {
    this.#failures = 0;
    this.#setState('up');
  }

  /** A request failed. */
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
