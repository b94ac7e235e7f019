// The hits of a query as cards. Everything that comes from the collection is put in as text.
const make = (tag, attributes, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

const action = (sign, label, hit, run) => {
  const button = make('button', { type: 'button', title: label, 'aria-label': `${label}: ${hit.caption}` }, sign);
  button.addEventListener('click', run);
  return button;
};

const card = (hit, number, words) => {
  const name = [hit.caption, hit.word, hit.copies].filter(Boolean).join(', ');
  const image = make('img', { src: hit.src, alt: '', loading: 'lazy' });
  const open = make('button', { type: 'button', class: 'pick', 'aria-label': name }, image);
  open.addEventListener('click', () => trigger('select', { number }));
  const bar = make('span', { class: 'bar', 'aria-hidden': 'true' }, make('i', { style: `width: ${hit.share}%` }));
  const judged = make('span', { class: 'judged' }, bar, make('span', { class: 'word' }, hit.word),
    make('span', { class: 'score' }, hit.score));
  const like = (liked) => () => trigger('like', { number, liked });
  const hand = (tab) => () => trigger('submit', { number, tab });
  const actions = make('span', { class: 'actions' },
    action('+', words.more, hit, like(true)), action('−', words.less, hit, like(false)),
    action('≈', words.similar, hit, hand('similar')), action('✎', words.describe, hit, hand('describe')));
  const caption = make('span', { class: 'caption', 'aria-hidden': 'true' }, hit.caption);
  const copies = hit.copies ? [make('span', { class: 'copies', 'aria-hidden': 'true' }, hit.copies)] : [];
  return make('li', { class: `card ${hit.strength}` }, open, ...copies, caption, hit.word ? judged : '', actions);
};

const list = (hits, first, words) => make('ul', { class: 'cards' },
  ...hits.map((hit, offset) => card(hit, first + offset, words)));

const render = () => {
  const root = element.querySelector('.hits');
  const { hits = [], words = {}, folded = false } = props.value || {};
  root.replaceChildren();
  if (!hits.length) return;
  const found = hits.findIndex((hit) => hit.strength === 'weak');
  const end = found < 0 ? hits.length : found;
  const weak = hits.slice(end);
  if (end) root.append(list(hits.slice(0, end), 0, words));
  if (folded) root.append(make('details', {}, make('summary', {}, words.nearest), list(weak, end, words)));
  else if (weak.length) root.append(make('p', { class: 'divider' }, words.weaker), list(weak, end, words));
};

watch('value', render);
render();
