/** The API's reference: its examples ask the address that this page came from, whatever name, proxy or path that is. */

const here = new URL('.', location.href).href.replace(/\/$/, '');
for (const address of document.querySelectorAll('.server')) address.textContent = here;
