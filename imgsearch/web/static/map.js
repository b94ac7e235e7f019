// The map. props.value holds its points; the wall tells the hits. Text of the collection never becomes HTML.
const root = element.querySelector('.atlas');
const [canvas, card, select, legend, key, live] = ['canvas', '.atlas-card', 'select', '.atlas-legend', '.atlas-key',
  '.atlas-live'].map((name) => root.querySelector(name));
const MARGIN = 26, MAX_ZOOM = 60, WAIT_MS = 90, MAX_CARDS = 400, STEP = 1.6, SLACK = 5, NUM_NEAREST = 5; // MARGIN and SLACK in pixels
const sheet = new Image(); // the pictures of all points, if there are few
sheet.onload = () => redraw();

let map = null; // points, colourings and the bounding box of the points
let view = { x: 0, y: 0, zoom: 1 }; // (x, y) on the map at the middle of the canvas
let colouring = null, only = null; // the column that colours the points; the only series that is not dimmed, if any
let current = -1, cards = new Map(), waiting = 0;
let marks = { query: null, hits: [] }, asked = { rows: [] }, moved = 0;
const pointers = new Map();

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
const placeOf = (point) => place(map.points[2 * point], map.points[2 * point + 1]);
const back = (left, top) => [(left - size()[0] / 2) / scale() + view.x, (top - size()[1] / 2) / scale() + view.y];

// Moves the view to (x, y), but never beyond the area that is visible at zoom 1.
const look = (x, y) => {
  const { left, top, right, bottom } = map.box;
  const [across, down] = size().map((side) => (side / 2) * (1 / fit() - 1 / scale()));
  view.x = clamp(x, (left + right) / 2 - across, (left + right) / 2 + across);
  view.y = clamp(y, (top + bottom) / 2 - down, (top + bottom) / 2 + down);
  canvas.style.touchAction = view.zoom > 1 ? 'none' : 'pan-y'; // at zoom 1 the map cannot move: a finger scrolls the page
  redraw();
};
const move = (across, down) => look(view.x - across / scale(), view.y - down / scale());
const zoom = (factor, left = size()[0] / 2, top = size()[1] / 2) => {
  const [x, y] = back(left, top);
  view.zoom = clamp(view.zoom * factor, 1, MAX_ZOOM);
  const [newX, newY] = back(left, top);
  look(view.x + x - newX, view.y + y - newY);
};

// --- The point chosen by pointer or keyboard, and its card.

// Checks every point: 10,000 distances take less time than the browser's own work for one move of the pointer.
const nearest = (left, top, reach) => {
  const [x, y] = back(left, top);
  let best = -1, least = (reach / scale()) ** 2;
  for (let point = 0; point < map.count; point++) {
    const distance = (map.points[2 * point] - x) ** 2 + (map.points[2 * point + 1] - y) ** 2;
    if (distance < least) [best, least] = [point, distance];
  }
  return best;
};

const choose = (point, isAnnounced = false) => {
  if (point === current) return;
  current = point;
  card.hidden = true;
  canvas.style.cursor = point < 0 ? '' : 'pointer';
  clearTimeout(waiting);
  if (point >= 0) waiting = setTimeout(ask, cards.has(point) ? 0 : WAIT_MS, point, isAnnounced);
  redraw();
};

const ask = async (point, isAnnounced) => {
  const asked = map;
  const answer = cards.get(point) ?? await server.card([map.collection, point]).catch(() => null);
  if (!answer || asked !== map) return;
  cards.delete(point);
  cards.set(point, answer); // now the most recent entry
  if (cards.size > MAX_CARDS) cards.delete(cards.keys().next().value);
  if (point !== current) return;
  const picture = card.querySelector('img');
  picture.src = answer.src;
  card.querySelector('p').textContent = answer.caption;
  if (isAnnounced) live.textContent = answer.caption;
  card.hidden = false;
  redraw();
};

const showCard = () => {
  if (card.hidden) return;
  const [width, height] = size(), [left, top] = placeOf(current), gap = 16;
  const isRight = left + gap + card.offsetWidth < width;
  card.style.left = `${clamp(isRight ? left + gap : left - gap - card.offsetWidth, 4, width - card.offsetWidth - 4)}px`;
  card.style.top = `${clamp(top - card.offsetHeight / 2, 4, height - card.offsetHeight - 4)}px`;
};

const open = async (point) => {
  const answer = point >= 0 && (cards.get(point) ?? await server.card([map.collection, point]).catch(() => null));
  if (answer) document.dispatchEvent(new CustomEvent('open', { detail: { id: answer.id } }));
};

// Returns the nearest point within 45 degrees of a direction.
const walk = (across, down) => {
  const [width, height] = size();
  if (current < 0) return marks.hits[0] ?? nearest(width / 2, height / 2, Infinity);
  const [x, y] = [map.points[2 * current], map.points[2 * current + 1]];
  let best = current, least = Infinity;
  for (let point = 0; point < map.count; point++) {
    const [right, below] = [map.points[2 * point] - x, map.points[2 * point + 1] - y];
    const along = right * across + below * down, aside = Math.abs(right * down + below * across);
    if (along > 0 && aside <= along && along + aside < least) [best, least] = [point, along + aside];
  }
  return best;
};

// --- Input: pointers, wheel and keys.

const local = (event) => {
  const { left, top } = canvas.getBoundingClientRect();
  return [event.clientX - left, event.clientY - top];
};
const under = (event) => nearest(...local(event), event.pointerType === 'mouse' ? 12 : 24);

const drag = (event) => {
  const [left, top] = local(event), [wasLeft, wasTop] = pointers.get(event.pointerId);
  const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
  pointers.set(event.pointerId, [left, top]);
  moved += Math.hypot(left - wasLeft, top - wasTop);
  if (other) {
    const spread = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]);
    zoom(spread([left, top]) / Math.max(spread([wasLeft, wasTop]), 1), (left + other[0]) / 2, (top + other[1]) / 2);
  } else if (moved > SLACK) move(left - wasLeft, top - wasTop);
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
on('pointerleave', () => choose(-1));
on('blur', () => choose(-1));
on('wheel', (event) => {
  if (!event.ctrlKey) return; // a plain wheel scrolls the page
  const factor = Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002));
  event.preventDefault();
  zoom(factor, ...local(event));
});

const KEYS = {
  ArrowLeft: () => choose(walk(-1, 0), true),
  ArrowRight: () => choose(walk(1, 0), true),
  ArrowUp: () => choose(walk(0, -1), true),
  ArrowDown: () => choose(walk(0, 1), true),
  Enter: () => open(current),
  Escape: () => choose(-1),
  '+': () => zoom(STEP),
  '=': () => zoom(STEP), // the same key without Shift
  '-': () => zoom(1 / STEP),
  '0': () => zoom(0),
};
on('keydown', (event) => {
  if (!KEYS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  KEYS[event.key]();
  if (current < 0 || !event.key.startsWith('Arrow')) return;
  const [left, top] = placeOf(current), [width, height] = size();
  if (left < 0 || top < 0 || left > width || top > height) look(map.points[2 * current], map.points[2 * current + 1]);
});
for (const button of root.querySelectorAll('[data-key]')) {
  button.addEventListener('click', () => map && KEYS[button.dataset.key]());
}

// --- Data from the server.

const made = (tag, text, name = '') => Object.assign(document.createElement(tag), { textContent: text, className: name });

const colourBy = (number) => {
  colouring = map.colourings[number];
  only = null;
  const names = [...colouring.values];
  names[NUM_SERIES] = map.words.other;
  legend.replaceChildren(...colouring.members.flatMap((members, series) => {
    if (!members.length) return [];
    const button = made('button', '');
    const swatch = made('i', '', series < NUM_COLOURS || series === NUM_SERIES ? 'atlas-disc' : 'atlas-triangle');
    swatch.style.background = `var(--atlas-${series < NUM_SERIES ? series % NUM_COLOURS : 'other'})`;
    button.type = 'button';
    button.append(swatch, made('span', names[series]), made('b', members.length.toLocaleString(document.documentElement.lang)));
    button.addEventListener('click', () => {
      only = only === series ? null : series;
      for (const one of legend.querySelectorAll('button')) one.setAttribute('aria-pressed', one === button && only !== null);
      redraw();
    });
    button.setAttribute('aria-pressed', false);
    const entry = made('li', '');
    entry.append(button);
    return entry;
  }));
  redraw();
};
select.addEventListener('change', () => colourBy(select.selectedIndex));

// The query is marked at the median of its nearest hits.
const mark = () => {
  const isHere = map && asked.isQuery && asked.collection === map.collection;
  const hits = isHere ? asked.rows.map((row) => map.pointOf.get(row)).filter((point) => point !== undefined) : [];
  const middle = (axis) => {
    const values = hits.slice(0, NUM_NEAREST).map((point) => map.points[2 * point + axis]).sort((one, other) => one - other);
    return (values[Math.floor((values.length - 1) / 2)] + values[Math.ceil((values.length - 1) / 2)]) / 2;
  };
  marks = { query: hits.length ? [middle(0), middle(1)] : null, hits };
  key.hidden = !hits.length;
  redraw();
};

const read = () => {
  const value = props.value;
  root.hidden = !value;
  [map, current, cards, view] = [null, -1, new Map(), { x: 0, y: 0, zoom: 1 }];
  card.hidden = true;
  if (!value) return;
  const points = unpack(value.points, Uint16Array), count = points.length / 2;
  const box = { left: 65535, top: 65535, right: 0, bottom: 0 };
  for (let point = 0; point < count; point++) {
    const [x, y] = [points[2 * point], points[2 * point + 1]];
    [box.left, box.right] = [Math.min(box.left, x), Math.max(box.right, x)];
    [box.top, box.bottom] = [Math.min(box.top, y), Math.max(box.bottom, y)];
  }
  const colourings = value.colourings.map(({ name, values, codes: packed }) => {
    const codes = unpack(packed, Uint8Array), members = Array.from({ length: NUM_SERIES + 1 }, () => []);
    codes.forEach((code, point) => members[code].push(point));
    return { name, values, codes, members };
  });
  const pointOf = new Map([...unpack(value.rows, Uint32Array)].map((row, point) => [row, point]));
  map = { ...value, points, pointOf, count, box, colourings };
  element.querySelector('.atlas-wait').textContent = '';
  if (value.sheet) sheet.src = value.sheet;
  canvas.setAttribute('aria-label', map.words.label);
  for (const named of root.querySelectorAll('[data-word]')) {
    const text = map.words[named.dataset.word];
    if (named.tagName === 'BUTTON') [named.title, named.ariaLabel] = [text, text];
    else named.textContent = text;
  }
  select.replaceChildren(...colourings.map(({ name }) => made('option', name)));
  mark();
  colourBy(0);
  look((box.left + box.right) / 2, (box.top + box.bottom) / 2);
};

watch('value', read);
document.addEventListener('answer', ({ detail }) => {
  asked = detail;
  mark();
  if (map && map.collection !== detail.collection && element.closest('.column').dataset.view === 'map') trigger('submit', detail);
});
document.addEventListener('map', ({ detail }) => {
  if (map && map.collection === detail.collection) return;
  element.querySelector('.atlas-wait').textContent = detail.wait;
  trigger('submit', detail);
});
new ResizeObserver(() => map && canvas.clientWidth && look(view.x, view.y)).observe(canvas);
new MutationObserver((_, observer) => (root.isConnected ? redraw() : observer.disconnect())).observe(document.body, { attributeFilter: ['class'] }); // the theme
read();
