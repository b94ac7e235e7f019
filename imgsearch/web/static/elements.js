// The page's words, which Gradio has too: in the browser's language, or in English.
const words = gradio_config.i18n_translations[navigator.language.slice(0, 2)] || gradio_config.i18n_translations.en;
// Creates an element with attributes, handlers of events (functions) and children. A string becomes text, never HTML.
const make = (tag, attributes, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(name, value);
    else if (value !== false) made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.filter((child) => child || child === 0));
  return made;
};
// Tells the other scripts of the page: 'ask' with a link, 'answer' with a value, 'open' with the id of an item.
const tell = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));
// Replaces the children of `root`. If a control had the focus, the control at the same position gets it.
const refill = (root, ...children) => {
  const controls = () => [...root.querySelectorAll(':is(button,input,select,summary)')];
  const focused = controls().indexOf(document.activeElement);
  root.replaceChildren(...children.filter(Boolean));
  if (focused >= 0) (controls()[focused] || controls().at(-1))?.focus({ preventScroll: true });
};
// The paths of this window's uploads stay in its storage, by the tokens that stand for them in links.
const UPLOADS = 'imgsearch.uploads', MAX_UPLOADS = 50;
const uploads = () => JSON.parse(sessionStorage.getItem(UPLOADS) || '{}');
const pathsOf = (link) => {
  const asked = new URLSearchParams(link), parts = asked.getAll('part').map((part) => part.split(':upload:')[1]);
  return [asked.get('u'), ...parts].map((token) => uploads()[token]).filter(Boolean);
};
// Uploads a picture and asks for it in a tab. One that is larger than the server takes is made smaller first, if the
// browser can decode it.
const PICTURES = /\.(heic|heif|jp2|tiff?|avif)$/i, MAX_SIDE = 4000; // pixels of a picture that is made smaller
const smaller = async (file) => {
  const bitmap = await createImageBitmap(file), scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
  canvas.getContext('2d').drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const blob = await canvas.convertToBlob({ type: 'image/jpeg', quality: 0.92 });
  return new File([blob], file.name.replace(/\.\w+$/, '.jpg'), { type: 'image/jpeg' });
};
const sendPicture = async (file, tab) => {
  const maxBytes = Number(document.querySelector('.wall').dataset.maxBytes), { searchParams } = new URL(location);
  tell('asked', '');
  try {
    const { path } = await upload(file.size > maxBytes ? await smaller(file) : file);
    const token = path.split(/[\\/]/).at(-2).slice(0, 16); // as the server names it
    const kept = Object.entries({ ...uploads(), [token]: path }).slice(-MAX_UPLOADS);
    sessionStorage.setItem(UPLOADS, JSON.stringify(Object.fromEntries(kept)));
    tell('ask', { link: `?${new URLSearchParams({ tab, u: token, in: searchParams.get('in') || '' })}` });
  } catch {
    tell('failed', file.size > maxBytes ? 'too_large_picture' : 'not_sent');
  }
};
