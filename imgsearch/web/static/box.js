// Lets a visitor drag a box on a picture and reports its edges in percent of the picture's sides.
const frame = () => document.querySelector(props.picture);
const clamp = (share) => Math.min(1, Math.max(0, share));
let box = null, start = null;

// The rectangle of the picture itself inside its element, which it may not fill.
const area = (image) => {
  const outer = image.getBoundingClientRect();
  const scale = Math.min(outer.width / image.naturalWidth, outer.height / image.naturalHeight);
  const width = image.naturalWidth * scale, height = image.naturalHeight * scale;
  return { left: outer.left + (outer.width - width) / 2, top: outer.top + (outer.height - height) / 2, width, height };
};

const share = (event, image) => {
  const { left, top, width, height } = area(image);
  return [clamp((event.clientX - left) / width), clamp((event.clientY - top) / height)];
};

const edges = (one, other) => [Math.min(one[0], other[0]), Math.min(one[1], other[1]),
  Math.max(one[0], other[0]), Math.max(one[1], other[1])];

const draw = (shares) => {
  box?.remove();
  const image = frame()?.querySelector('img');
  if (!shares || !image) return;
  const { left, top, width, height } = area(image);
  const host = image.parentElement.getBoundingClientRect();
  box = document.createElement('div');
  box.className = 'box';
  Object.assign(box.style, {
    left: `${left - host.left + shares[0] * width}px`, top: `${top - host.top + shares[1] * height}px`,
    width: `${(shares[2] - shares[0]) * width}px`, height: `${(shares[3] - shares[1]) * height}px`,
  });
  image.parentElement.style.position = 'relative';
  image.parentElement.append(box);
};

const shown = () => {
  const numbers = String(props.value).split(',').map(Number);
  return numbers.length === 4 && numbers.every(Number.isFinite) ? numbers.map((n) => n / 100) : null;
};

document.addEventListener('pointerdown', (event) => {
  const image = event.target.closest?.(`${props.picture} img`);
  if (!image || event.button) return;
  event.preventDefault();
  start = share(event, image);
  image.setPointerCapture(event.pointerId);
});
document.addEventListener('pointermove', (event) => {
  if (start) draw(edges(start, share(event, frame().querySelector('img'))));
});
document.addEventListener('pointerup', (event) => {
  if (!start) return;
  const [left, top, right, bottom] = edges(start, share(event, frame().querySelector('img')));
  start = null;
  if (right - left < 0.02 || bottom - top < 0.02) draw(shown());
  else trigger('select', { box: [left, top, right, bottom].map((edge) => Math.round(1000 * edge) / 10).join(', ') });
});
document.addEventListener('pointercancel', () => {
  start = null;
  draw(shown());
});
addEventListener('resize', () => draw(shown()));
watch('value', () => draw(shown()));
