// The map of the collection on a canvas: small pictures or points, names of areas, and the hits that the wall tells.
const root = element.querySelector('.atlas'), wait = element.querySelector('.atlas-wait');
const [canvas, card, live] = ['canvas', '.atlas-card', '.live'].map((name) => root.querySelector(name));
const MARGIN = 30, MAX_ZOOM = 60, WAIT_MS = 90, STEP = 1.6, SLACK = 5; // MARGIN and SLACK in pixels
const NUM_RANKS = 12, NUM_COLOURS = 6, TURN = 2 * Math.PI;
const sheet = new Image(), pointers = new Map(), cards = new Map();
let map = null, view = { x: 0, y: 0, zoom: 1 }, current = -1; // (x, y) on the map at the middle of the canvas
let asked = { hits: [], chips: [] }, hits = [], frame = 0, waiting = 0, moved = 0;
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const unpack = (text, Kind) => new Kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
// --- Conversion between map coordinates and the canvas (CSS pixels).
const size = () => [canvas.clientWidth, canvas.clientHeight];
const fit = () => {
  const [width, height] = size(), { left, top, right, bottom } = map.box;
  return Math.min((width - 2 * MARGIN) / Math.max(right - left, 1), (height - 2 * MARGIN) / Math.max(bottom - top, 1));
};
const scale = () => fit() * view.zoom;
const place = (x, y) => [(x - view.x) * scale() + size()[0] / 2, (y - view.y) * scale() + size()[1] / 2];
const at = (point) => [map.points[2 * point], map.points[2 * point + 1]];
const back = (left, top) => [(left - size()[0] / 2) / scale() + view.x, (top - size()[1] / 2) / scale() + view.y];
// Moves the view to (x, y), but never beyond the area that is visible at zoom 1.
const look = (x, y) => {
  const { left, top, right, bottom } = map.box;
  const [across, down] = size().map((side) => (side / 2) * (1 / fit() - 1 / scale()));
  view.x = clamp(x, (left + right) / 2 - across, (left + right) / 2 + across);
  view.y = clamp(y, (top + bottom) / 2 - down, (top + bottom) / 2 + down);
  canvas.style.touchAction = view.zoom > 1 ? 'none' : 'pan-y'; // at zoom 1 a finger scrolls the page
  redraw();
};
const zoom = (factor, left = size()[0] / 2, top = size()[1] / 2) => {
  const [x, y] = back(left, top);
  view.zoom = clamp(view.zoom * factor, 1, MAX_ZOOM);
  const [newX, newY] = back(left, top);
  look(view.x + x - newX, view.y + y - newY);
};
// --- Drawing, at most once per frame.
const redraw = () => { frame ||= requestAnimationFrame(() => { frame = 0; draw(); }); };
const reach = () => {
  if (map.sheet) return map.side * clamp(0.28 * view.zoom ** 0.6, 0.28, 0.8);
  return clamp(0.16 * Math.sqrt((size()[0] * size()[1]) / (map.count + 1)), 1.7, 5.5) * clamp(view.zoom ** 0.4, 1, 2.2);
};
const draw = () => {
  const [width, height] = size(), ratio = devicePixelRatio, pen = canvas.getContext('2d');
  if (!map || !width) return;
  const pixels = [width, height].map((side) => Math.round(side * ratio));
  if (`${[canvas.width, canvas.height]}` !== `${pixels}`) [canvas.width, canvas.height] = pixels;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const style = getComputedStyle(root), radius = reach();
  const [ink, ground] = [style.color, style.backgroundColor];
  const mark = (point, strength) => {
    const [left, top] = place(...at(point));
    if (left < -radius || top < -radius || left > width + radius || top > height + radius) return;
    pen.globalAlpha = strength;
    if (map.sheet) {
      const from = [(point % map.across) * map.side, Math.floor(point / map.across) * map.side, map.side, map.side];
      pen.drawImage(sheet, ...from, left - radius, top - radius, 2 * radius, 2 * radius);
      return;
    }
    pen.fillStyle = style.getPropertyValue(`--atlas-${map.clusters[point] % NUM_COLOURS}`);
    pen.beginPath();
    pen.arc(left, top, radius, 0, TURN);
    pen.fill();
  };
  const ring = (point, line) => {
    Object.assign(pen, { globalAlpha: 1, lineWidth: line, strokeStyle: ink });
    pen.beginPath();
    pen.arc(...place(...at(point)), (map.sheet ? 1.25 : 1) * radius + 3, 0, TURN);
    pen.stroke();
  };
  const write = (text, left, top, font) => {
    const colours = { globalAlpha: 1, strokeStyle: ground, fillStyle: ink };
    Object.assign(pen, { ...colours, font: `${font} ${style.fontFamily}`, lineJoin: 'round', lineWidth: 4 });
    pen.strokeText(text, left, top);
    pen.fillText(text, left, top);
  };
  for (let point = 0; point < map.count; point++) mark(point, hits.length ? 0.3 : 1);
  hits.forEach((point) => { mark(point, 1); ring(point, 2); });
  pen.textAlign = 'center';
  const inside = ([left, top]) => [clamp(left, 50, size()[0] - 50), top];
  for (const [name, x, y] of map.areas) write(name, ...inside(place(x, y)), '600 15px');
  const beside = ([left, top]) => [left + radius + 6, top - radius];
  hits.slice(0, NUM_RANKS).forEach((point, index) => write(index + 1, ...beside(place(...at(point))), '600 12px'));
  if (current >= 0) ring(current, 3);
  showCard();
};
// --- The point chosen by pointer or keyboard, and its card.
// Checks every point: 10,000 distances take less time than the browser's own work for one move of the pointer.
const best = (badness, least = Infinity) => {
  let found = -1;
  for (let point = 0; point < map.count; point++) {
    const value = badness(...at(point));
    if (value < least) [found, least] = [point, value];
  }
  return found;
};
const nearest = (left, top, slack) => {
  const [x, y] = back(left, top);
  return best((right, below) => Math.hypot(right - x, below - y), slack / scale());
};
const walk = (across, down) => { // the nearest point within 45 degrees of a direction
  if (current < 0) return hits[0] ?? nearest(size()[0] / 2, size()[1] / 2, Infinity);
  const [x, y] = at(current);
  const found = best((right, below) => {
    const [dx, dy] = [right - x, below - y];
    const along = dx * across + dy * down, aside = Math.abs(dx * down + dy * across);
    return along > 0 && aside <= along ? along + aside : Infinity;
  });
  return found < 0 ? current : found;
};
const fetchCard = async (point) => cards.get(point) ?? server.card([map.collection, point]).catch(() => null);
const choose = (point, isAnnounced = false) => {
  if (point === current) return;
  current = point;
  card.hidden = true;
  canvas.style.cursor = point < 0 ? '' : 'pointer';
  clearTimeout(waiting);
  if (point >= 0) waiting = setTimeout(tellCard, cards.has(point) ? 0 : WAIT_MS, point, isAnnounced);
  redraw();
};
const tellCard = async (point, isAnnounced) => {
  const before = map, answer = await fetchCard(point);
  if (!answer || before !== map) return;
  cards.set(point, answer);
  if (point !== current) return;
  card.querySelector('img').src = answer.src;
  card.querySelector('p').textContent = answer.caption;
  if (isAnnounced) live.textContent = answer.caption;
  card.hidden = false;
  redraw();
};
const showCard = () => {
  if (card.hidden) return;
  const [width, height] = size(), [left, top] = place(...at(current)), gap = reach() + 12, across = card.offsetWidth;
  card.style.left = `${left + gap + across < width ? left + gap : Math.max(4, left - gap - across)}px`;
  card.style.top = `${clamp(top - card.offsetHeight / 2, 4, height - card.offsetHeight - 4)}px`;
};
const open = async (point) => {
  const answer = point >= 0 && (await fetchCard(point));
  if (answer) tell('open', { id: answer.id });
};
// --- Input: pointers, wheel and keys.
const local = ({ offsetX, offsetY }) => [offsetX, offsetY];
const under = (event) => nearest(...local(event), Math.max(reach(), event.pointerType === 'mouse' ? 12 : 24));
const drag = (event) => {
  const now = local(event), was = pointers.get(event.pointerId);
  const by = (one, two) => Math.hypot(one[0] - two[0], one[1] - two[1]);
  const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
  pointers.set(event.pointerId, now);
  moved += by(now, was);
  if (other) zoom(by(now, other) / Math.max(by(was, other), 1), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  else if (moved > SLACK) look(view.x - (now[0] - was[0]) / scale(), view.y - (now[1] - was[1]) / scale());
};
const on = (name, handler) => canvas.addEventListener(name, (event) => map && handler(event), { passive: false });
on('pointerdown', (event) => {
  if (event.button) return;
  if (!pointers.size) moved = 0;
  pointers.set(event.pointerId, local(event));
  canvas.setPointerCapture(event.pointerId);
});
on('pointermove', (event) => (pointers.has(event.pointerId) ? drag(event) : choose(under(event))));
on('pointerup', (event) => {
  if (!pointers.delete(event.pointerId) || pointers.size || moved > SLACK) return;
  choose(under(event));
  open(current);
});
on('pointercancel', (event) => pointers.delete(event.pointerId));
for (const name of ['pointerleave', 'blur']) on(name, () => choose(-1));
on('wheel', (event) => {
  if (!event.ctrlKey) return; // a plain wheel scrolls the page
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), ...local(event));
});
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEYS = {
  ...Object.fromEntries(Object.entries(STEPS).map(([key, step]) => [key, () => choose(walk(...step), true)])),
  ...{ Enter: () => open(current), Escape: () => choose(-1) },
  ...{ '+': () => zoom(STEP), '=': () => zoom(STEP), '-': () => zoom(1 / STEP), '0': () => zoom(0) },
};
on('keydown', (event) => {
  if (!KEYS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  KEYS[event.key]();
  if (current < 0 || !STEPS[event.key]) return;
  const [x, y] = place(...at(current)), [width, height] = size();
  if (x < 0 || y < 0 || x > width || y > height) look(...at(current));
});
for (const button of root.querySelectorAll('[data-key]')) button.onclick = () => map && KEYS[button.dataset.key]();
// --- Data from the server and from the wall.
const markHits = () => {
  const isHere = asked.chips.length > 0 && asked.collection === map?.collection;
  hits = (isHere ? asked.hits : []).map(({ row }) => map.pointOf.get(row)).filter((point) => point !== undefined);
  redraw();
};
const read = () => {
  const value = props.value;
  root.hidden = !value;
  [map, current, view] = [null, -1, { x: 0, y: 0, zoom: 1 }];
  cards.clear();
  card.hidden = true;
  if (!value) return;
  const sent = unpack(value.points, Uint16Array), count = sent.length / 2;
  const turn = Number(innerHeight > innerWidth); // 1: the axes change places, so that the wider one fills a phone
  const points = sent.map((_, index) => sent[index ^ turn]);
  const areas = value.areas.map(([name, ...axes]) => [name, axes[turn], axes[1 - turn]]);
  const [xs, ys] = [0, 1].map((axis) => points.filter((_, index) => index % 2 === axis).sort());
  const box = { left: xs[0], top: ys[0], right: xs.at(-1), bottom: ys.at(-1) };
  const pointOf = new Map([...unpack(value.rows, Uint32Array)].map((row, point) => [row, point]));
  map = { ...value, areas, points, pointOf, count, box, clusters: unpack(value.clusters, Uint8Array) };
  if (map.sheet) sheet.src = map.sheet;
  wait.textContent = '';
  canvas.setAttribute('aria-label', map.label);
  for (const one of root.querySelectorAll('[data-word]')) one.title = one.ariaLabel = words[`map_${one.dataset.word}`];
  markHits();
  look((box.left + box.right) / 2, (box.top + box.bottom) / 2);
};
const ask = ({ collection }) => map?.collection !== collection && trigger('submit', { collection });

sheet.onload = redraw;
watch('value', read);
document.addEventListener('answer', ({ detail }) => {
  asked = detail;
  markHits();
  if (element.closest('.column').dataset.view === 'map') ask(detail);
});
document.addEventListener('map', ({ detail }) => {
  if (!map) wait.textContent = words.map_wait;
  ask(detail);
});
new ResizeObserver(() => map && canvas.clientWidth && look(view.x, view.y)).observe(canvas);
new MutationObserver(() => redraw()).observe(document.body, { attributeFilter: ['class'] }); // the theme
read();
