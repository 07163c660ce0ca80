/** Offline: the service worker that keeps the page, and the change to a new version of it. */

const TAKE_OVER = 'take over';
const KEEP_DEVICE = 'keep device';

/**
 * Have the page kept for the time without a network.
 *
 * A version that came in an earlier visit is taken at once; one that comes while the page is open waits to be asked for.
 * @param {(use: () => void) => void} offer a new version is here; `use` reloads the page into it
 */
export async function registerWorker(offer) {
  const workers = navigator.serviceWorker;
  if (!workers) return; // the page came over plain HTTP
  let registration;
  try {
    registration = await workers.register(new URL('service-worker.js', import.meta.url), { updateViaCache: 'none' });
  } catch {
    return; // not allowed here, as in private windows of some browsers: the page works while there is a network
  }
  const use = (/** @type {ServiceWorker} */ waiting) => {
    workers.addEventListener('controllerchange', () => location.reload(), { once: true });
    waiting.postMessage(TAKE_OVER);
  };
  if (registration.waiting && workers.controller) return use(registration.waiting);
  registration.addEventListener('updatefound', () => {
    const { installing } = registration;
    installing?.addEventListener('statechange', () => {
      if (installing.state === 'installed' && workers.controller) offer(() => use(installing));
    });
  });
}

/** Have what reads on the device kept too. */
export async function keepDevice() {
  const registration = await navigator.serviceWorker?.ready;
  registration?.active?.postMessage(KEEP_DEVICE);
}
