// Shows the hits of a query as cards. Everything from the collection is inserted as text, never as HTML.
const action = (sign, label, hit, run) => {
  const button = make('button', { type: 'button', title: label, 'aria-label': `${label}: ${hit.caption}` }, sign);
  button.addEventListener('click', run);
  return button;
};

const card = (hit, words) => {
  const name = [hit.caption, hit.word, hit.copies].filter(Boolean).join(', ');
  const image = make('img', { src: hit.src, alt: '', loading: 'lazy' });
  const open = make('button', { type: 'button', class: 'pick', 'aria-label': name }, image);
  open.addEventListener('click', () => trigger('select', { id: hit.id }));
  const bar = make('span', { class: 'bar', 'aria-hidden': 'true' }, make('i', { style: `width: ${hit.share}%` }));
  const judged = make('span', { class: 'judged' }, bar, make('span', { class: 'word' }, hit.word),
    make('span', { class: 'score' }, hit.score));
  const like = (liked) => () => trigger('like', { id: hit.id, liked });
  const hand = (tab) => () => trigger('submit', { id: hit.id, tab });
  const actions = make('span', { class: 'actions' },
    action('+', words.more, hit, like(true)), action('−', words.less, hit, like(false)),
    action('≈', words.similar, hit, hand('similar')), action('✎', words.describe, hit, hand('describe')));
  const caption = make('span', { class: 'caption', 'aria-hidden': 'true' }, hit.caption);
  const copies = hit.copies ? [make('span', { class: 'copies', 'aria-hidden': 'true' }, hit.copies)] : [];
  return make('li', { class: `card ${hit.strength}` }, open, ...copies, caption, hit.strength ? judged : '', actions);
};

const list = (hits, words) => make('ul', { class: 'cards' }, ...hits.map((hit) => card(hit, words)));

const render = () => {
  const root = element.querySelector('.hits');
  const { hits = [], words = {}, likely = 0, folded = false } = props.value || {};
  const rest = list(hits.slice(likely), words);
  const lists = likely ? [list(hits.slice(0, likely), words)] : [];
  if (folded) lists.push(make('details', {}, make('summary', {}, words.nearest), rest));
  else if (likely < hits.length) lists.push(make('p', { class: 'divider' }, words.unlikely), rest);
  refill(root, ...lists);
};

watch('value', render);
render();
