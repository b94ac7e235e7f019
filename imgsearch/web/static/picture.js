// The place for a picture: choose one, and select a part of it by dragging. wall.js takes what is dropped or pasted.
const root = element.querySelector('.picture'), asks = root.dataset.tab, isBoxed = asks === 'similar';
const clamp = (share) => Math.min(1, Math.max(0, share));
let start = null;
const share = (event) => {
  const { left, top, width, height } = root.querySelector('img').getBoundingClientRect();
  return [clamp((event.clientX - left) / width), clamp((event.clientY - top) / height)];
};
const edges = (one, two) => [Math.min, Math.max].flatMap((most) => [0, 1].map((axis) => most(one[axis], two[axis])));
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
  const change = () => input.files[0] && sendPicture(input.files[0], asks);
  const named = { accept: 'image/*,.heic,.heif,.jp2,.tif,.tiff,.avif', 'aria-label': words.drop };
  const input = make('input', { type: 'file', ...named, change });
  const zone = make('label', { class: src ? 'drop again' : 'drop' }, input, src ? words.other : words.drop);
  const drawn = { src, alt: words.picture, draggable: 'false', ...(isBoxed ? draggable : {}) };
  const typed = () => askBox(field.value);
  const field = make('input', { type: 'text', value: box, 'aria-label': words.box_label, change: typed });
  const select = src && isBoxed ? [
    make('button', { type: 'button', click: () => root.classList.toggle('selecting') }, words.box_select),
    make('details', {}, make('summary', {}, words.box_label), field, make('small', {}, words.box_info))] : [];
  refill(root, src && make('figure', {}, make('img', drawn)), make('div', { class: 'tools' }, zone, ...select));
  if (src && isBoxed) drawBox(shown());
};

watch('value', render);
render();
