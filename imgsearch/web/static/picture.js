// The place for a picture: choose, drop or paste one, and select a part of it by dragging.
const root = element.querySelector('.picture');
const asks = root.dataset.tab, maxBytes = Number(root.dataset.maxBytes);
const isBoxed = asks === 'similar';
const clamp = (share) => Math.min(1, Math.max(0, share));
let message = '', start = null, words = {};

// A picture that is larger than the server takes is made smaller first, if the browser can decode it.
const smaller = async (file) => {
  const bitmap = await createImageBitmap(file), scale = Math.min(1, 4000 / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
  canvas.getContext('2d').drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const blob = await canvas.convertToBlob({ type: 'image/jpeg', quality: 0.92 });
  return new File([blob], file.name.replace(/\.\w+$/, '.jpg'), { type: 'image/jpeg' });
};
const take = async (file) => {
  root.setAttribute('aria-busy', 'true');
  try {
    const sent = file.size > maxBytes ? await smaller(file).catch(() => file) : file;
    message = sent.size > maxBytes ? words.too_large_picture : '';
    if (!message) tell('ask', { link: { tab: asks }, path: (await upload(sent)).path });
  } catch {
    message = words.not_sent;
  }
  render();
  root.removeAttribute('aria-busy');
};

const image = () => root.querySelector('img');
const share = (event) => {
  const { left, top, width, height } = image().getBoundingClientRect();
  return [clamp((event.clientX - left) / width), clamp((event.clientY - top) / height)];
};
const edges = (one, other) => [0, 1].map((axis) => Math.min(one[axis], other[axis]))
  .concat([0, 1].map((axis) => Math.max(one[axis], other[axis])));
const drawBox = (shares) => {
  root.querySelector('.box')?.remove();
  if (!shares) return;
  const [left, top, right, bottom] = shares.map((side) => `${100 * side}%`);
  const style = `left: ${left}; top: ${top}; width: calc(${right} - ${left}); height: calc(${bottom} - ${top})`;
  root.querySelector('figure').append(make('div', { class: 'box', style }));
};
const shown = () => {
  const numbers = String(props.value?.box || '').split(',').map(Number);
  return numbers.length === 4 && numbers.every(Number.isFinite) ? numbers.map((number) => number / 100) : null;
};
const askBox = (box) => {
  const link = new URLSearchParams(location.search);
  for (const key of ['box', 'open', 'from']) link.delete(key);
  if (box) link.set('box', box);
  tell('ask', { link: `?${link}` });
};

const draggable = {
  pointerdown: (event) => {
    if (event.button || (event.pointerType === 'touch' && !root.classList.contains('selecting'))) return;
    event.preventDefault();
    start = share(event);
    event.target.setPointerCapture(event.pointerId);
  },
  pointermove: (event) => start && drawBox(edges(start, share(event))),
  pointerup: (event) => {
    if (!start) return;
    const box = edges(start, share(event));
    start = null;
    if (box[2] - box[0] < 0.02 || box[3] - box[1] < 0.02) return drawBox(shown());
    root.classList.remove('selecting');
    return askBox(box.map((edge) => Math.round(1000 * edge) / 10).join(', '));
  },
  pointercancel: () => { start = null; drawBox(shown()); },
};

const render = () => {
  const { src = '', box = '' } = props.value || {};
  words = props.words || props.value?.words || words;
  const input = make('input', { type: 'file', accept: 'image/*,.heic,.heif,.jp2,.tif,.tiff,.avif', 'aria-label': words.drop || '',
    change: () => input.files[0] && take(input.files[0]) });
  const zone = make('label', { class: src ? 'drop again' : 'drop' }, input, make('span', {}, src ? words.other : words.drop));
  const figure = src && make('figure', {}, make('img', { src, alt: words.picture, draggable: 'false', ...(isBoxed ? draggable : {}) }));
  const field = make('input', { type: 'text', value: box, 'aria-label': words.box_label, change: () => askBox(field.value) });
  const select = src && isBoxed && make('p', { class: 'select' },
    make('button', { type: 'button', click: () => root.classList.toggle('selecting') }, words.box_select),
    make('details', {}, make('summary', {}, words.box_label), field, make('small', {}, words.box_info)));
  refill(root, figure, zone, select, message && make('p', { class: 'error', role: 'alert' }, message));
  if (src && isBoxed) drawBox(shown());
};

for (const name of ['dragover', 'drop']) {
  root.addEventListener(name, (event) => {
    if (!event.dataTransfer?.files && !event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    event.stopPropagation();
    if (name === 'drop' && event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}
watch(['value', 'words'], render);
render();
