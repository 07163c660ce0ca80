/** What is kept of corrections on this device: IndexedDB, or memory where the browser has none to give. */

const NAME = 'inkdigits';
const VERSION = 1;
const STORES = /** @type {const} */ (['corrections', 'feedback']);

/** @typedef {typeof STORES[number]} Store */

/** @type {Promise<IDBDatabase> | null} */
let opened = null;
/** @type {Record<Store, Map<IDBValidKey, any>>} what this visit keeps if there is no database */
const memory = { corrections: new Map(), feedback: new Map() };

/** @returns {Promise<IDBDatabase>} */
function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => STORES.forEach((name) => request.result.createObjectStore(name, { keyPath: 'key' }));
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/**
 * @template T
 * @param {Store} name
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest<T>} act
 * @returns {Promise<T>} once it is written
 */
async function transact(name, mode, act) {
  const transaction = (await open()).transaction(name, mode, { durability: 'strict' });
  const request = act(transaction.objectStore(name));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
}

/**
 * All entries, in the order of their keys.
 * @param {Store} name
 * @returns {Promise<any[]>}
 */
export async function all(name) {
  try {
    return await transact(name, 'readonly', (store) => store.getAll());
  } catch {
    return [...memory[name].values()];
  }
}

/**
 * Add or replace an entry.
 * @param {Store} name
 * @param {{key: IDBValidKey}} entry
 */
export async function put(name, entry) {
  try {
    await transact(name, 'readwrite', (store) => store.put(entry));
  } catch {
    memory[name].set(entry.key, entry); // storage is off or full: it holds for this visit
  }
}

/**
 * @param {Store} name
 * @param {IDBValidKey} key
 */
export async function remove(name, key) {
  memory[name].delete(key);
  await transact(name, 'readwrite', (store) => store.delete(key)).catch(() => {});
}

/** @param {Store} name */
export async function clear(name) {
  memory[name].clear();
  await transact(name, 'readwrite', (store) => store.clear()).catch(() => {});
}
