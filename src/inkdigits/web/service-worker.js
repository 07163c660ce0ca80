/**
 * The service worker: stores the page, so that it opens without a network, and the model and the runtime once reading on
 * the device was wanted. `files.js`, made by the server or scripts/build_static.py, lists the files with a hash of their
 * content. A new hash makes a new worker, which fetches the whole new set before the old one is deleted.
 */

// @ts-check
/// <reference no-default-lib="true" />
/// <reference lib="webworker" />

const worker = /** @type {ServiceWorkerGlobalScope & {KEPT: Record<'page' | 'device', {version: string, files: string[]}>}} */ (
  /** @type {unknown} */ (self)
);
worker.importScripts('files.js');

const { page, device } = worker.KEPT;
const { scope } = worker.registration;
const PREFIX = `inkdigits ${scope} `; // an origin may have several pages
const PAGE = `${PREFIX}page ${page.version}`;
const DEVICE = `${PREFIX}device ${device.version}`;
const address = (/** @type {string} */ file) => new URL(file, scope).href;
const pageFiles = new Set(page.files.map(address));
const deviceFiles = new Set(device.files.map(address));

worker.addEventListener('install', (event) => {
  event.waitUntil(
    (async () => {
      const isWanted = (await caches.keys()).some((name) => name.startsWith(`${PREFIX}device `));
      await Promise.all([fill(PAGE, pageFiles), isWanted && fill(DEVICE, deviceFiles)]);
    })(),
  );
});

worker.addEventListener('activate', (event) => {
  event.waitUntil(
    (async () => {
      const old = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== PAGE && name !== DEVICE);
      await Promise.all(old.map((name) => caches.delete(name)));
      await worker.clients.claim();
    })(),
  );
});

worker.addEventListener('message', (event) => {
  if (event.data === 'take over') worker.skipWaiting();
  if (event.data === 'keep device') event.waitUntil(fill(DEVICE, deviceFiles));
});

worker.addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method !== 'GET') return;
  const url = new URL(request.url);
  url.search = url.hash = ''; // ?server= is for the page, not for the file
  if (url.href === address('index.html')) url.href = scope;
  const store = pageFiles.has(url.href) ? PAGE : deviceFiles.has(url.href) ? DEVICE : null;
  if (store) event.respondWith(answer(request, store, url.href));
});

/**
 * Answer from the store, else from the network.
 * @param {Request} request
 * @param {string} store
 * @param {string} url
 */
async function answer(request, store, url) {
  return (await (await caches.open(store)).match(url)) ?? fetch(request);
}

/**
 * Fetch the files that the store lacks, all or none of them.
 * @param {string} name
 * @param {Iterable<string>} files
 */
async function fill(name, files) {
  const store = await caches.open(name);
  const lacking = [];
  for (const file of files) if (!(await store.match(file))) lacking.push(new Request(file, { cache: 'no-cache' }));
  await store.addAll(lacking);
}
