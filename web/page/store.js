// What is kept in this browser: the training as it was last, and those before it that could not be gone on from. Each
// call fails with the browser's reason where it keeps nothing: storage may be switched off, full, or another page's.
const STORE = 'kept', LAST = 'training', ASIDE = 'aside';

/** What `ask` has found, once the browser has kept all that it asked for. */
const transaction = (mode, ask) => new Promise((found, failed) => {
  const opening = indexedDB.open('wgpu-cnn', 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  opening.onerror = () => failed(opening.error);
  opening.onsuccess = () => {
    const database = opening.result;
    const ends = how => { database.close(); how(); };
    try {
      const asked = database.transaction(STORE, mode);
      let result;
      asked.oncomplete = () => ends(() => found(result));
      asked.onabort = () => ends(() => failed(asked.error ?? new Error('the browser has given it up')));
      ask(asked.objectStore(STORE), value => { result = value; });
    } catch (error) { ends(() => failed(error)); }
  };
});

const get = key => transaction('readonly', (store, gives) => {
  const request = store.get(key);
  request.onsuccess = () => gives(request.result);
});

/** The training that was kept last: its batch, and the bytes of its checkpoint. */
export const kept = () => get(LAST);

export const keep = training => transaction('readwrite', store => store.put(training, LAST));

/** Those that were set aside, the newest last. */
export const aside = async () => await get(ASIDE) ?? [];

/** Sets the training that was kept last aside, so that the next one does not take its place. */
export const setAside = () => transaction('readwrite', store => {
  const last = store.get(LAST), others = store.get(ASIDE);
  others.onsuccess = () => {
    if (last.result) store.put([...others.result ?? [], last.result], ASIDE);
    store.delete(LAST);
  };
});

/** Makes the newest that was set aside the one that was kept last. */
export const takeBack = () => transaction('readwrite', store => {
  const others = store.get(ASIDE);
  others.onsuccess = () => {
    const all = others.result ?? [], newest = all.pop();
    if (newest) store.put(newest, LAST);
    if (all.length) store.put(all, ASIDE); else store.delete(ASIDE);
  };
});

export const forget = () => transaction('readwrite', store => store.clear());
