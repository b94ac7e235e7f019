// The dialog over the page that shows one picture large, with its data and what one can do with it.
const dialog = make('dialog', { class: 'hit', 'aria-labelledby': 'hit_title' });
let openId = null;

const linkTo = (tab, id) => `?${new URLSearchParams({ tab, id, in: props.value.collection })}`;
const withPart = (id, weight) => {
  const link = new URLSearchParams(props.value.link);
  link.delete('from');
  link.append('part', `${weight}:item:${id}`);
  return `?${link}`;
};
const actions = (hit) => {
  const { words } = props.value;
  const to = (link) => () => { tell('ask', { link }); dialog.close(); };
  return [[words.similar_to_this, linkTo('similar', hit.id)], [words.describe_this, linkTo('describe', hit.id)],
    [words.more_like, withPart(hit.id, 1)], [words.less_like, withPart(hit.id, -1)]].map(([word, link]) =>
    make('button', { type: 'button', click: to(link), 'aria-label': `${word}: ${hit.caption || hit.id}` }, word));
};

const show = async (id, isNext = dialog.open) => {
  openId = id;
  const { words, collection, hits = [] } = props.value || {};
  const position = hits.findIndex((hit) => hit.id === id), hit = hits[position] || { id, caption: '' };
  const step = (by, word, sign) => hits[position + by] && position >= 0 &&
    make('button', { type: 'button', class: by > 0 ? 'step next' : 'step', 'aria-label': word, click: () => show(hits[position + by].id) }, sign);
  const fill = (src, caption, fields) => dialog.replaceChildren(
    make('div', { class: 'stage' }, make('img', { src, alt: caption }), step(-1, words.previous, '‹'), step(1, words.next, '›')),
    make('div', { class: 'data' }, make('h2', { id: 'hit_title' }, caption),
      hit.mark && make('p', { class: 'mark' }, hit.mark),
      make('dl', {}, ...fields.flatMap(([name, text]) => [make('dt', {}, name), make('dd', {}, text)])),
      make('p', { class: 'actions' }, ...actions({ ...hit, caption }),
        make('a', { href: src, download: id.split('/').at(-1).replace(/\.\w+$/, '.webp') }, words.download))),
    make('button', { type: 'button', class: 'close', 'aria-label': words.close, click: () => dialog.close() }, '×'));
  fill(hit.src || '', hit.caption, []);
  if (!dialog.open) dialog.showModal();
  dialog.querySelector('.close').focus();
  tell('opened', { id, isNext });
  const item = await server.item([collection, id]).catch(() => null);
  if (openId !== id || !dialog.open) return;
  if (item) fill(item.src, item.caption, item.fields);
  else fill(hit.src || '', words.no_such_hit, []);
  if (document.activeElement === document.body || !dialog.contains(document.activeElement)) dialog.querySelector('.close').focus();
};

dialog.addEventListener('close', () => {
  const id = openId;
  openId = null;
  tell('closed');
  [...element.querySelectorAll('.pick')].find((pick) => pick.dataset.id === id)?.focus();
});
dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
dialog.addEventListener('keydown', (event) => {
  const step = { ArrowLeft: '.step:first-of-type', ArrowRight: '.step:last-of-type' }[event.key];
  const button = step && [...dialog.querySelectorAll('.step')].find((one) => one.textContent === (event.key === 'ArrowLeft' ? '‹' : '›'));
  if (button) { event.preventDefault(); button.click(); }
});
document.addEventListener('open', ({ detail: { id } }) => {
  if (id && id !== openId && props.value?.words) show(id);
  else if (!id && dialog.open) dialog.close();
});
