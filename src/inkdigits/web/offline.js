/** Registers the service worker that stores the page for offline use, and changes to new versions of the page. */

const TAKE_OVER = 'take over';
const KEEP_DEVICE = 'keep device';

/**
 * Have the page stored for offline use.
 *
 * A version that was downloaded in an earlier visit is used at once; one that arrives while the page is open waits.
 * @param {(use: () => void) => void} offer called when a new version has arrived; `use` reloads the page into it
 */
export async function registerWorker(offer) {
  const workers = navigator.serviceWorker;
  if (!workers) return; // browsers offer none to a page that came over plain HTTP
  let registration;
  try {
    registration = await workers.register(new URL('service-worker.js', import.meta.url), { updateViaCache: 'none' });
  } catch {
    return; // forbidden, as in private windows of some browsers: the page works while there is a network
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

/** Have the model and the runtime stored, too. */
export async function keepDevice() {
  const registration = await navigator.serviceWorker?.ready;
  registration?.active?.postMessage(KEEP_DEVICE);
}
