// The dialog over the page that shows one picture large, with its data and what one can do with it.
const dialog = make('dialog', { class: 'hit', 'aria-labelledby': 'hit_title' });
let openId = null;
const withPart = (id, weight) => {
  const link = new URLSearchParams(shown.link);
  link.delete('from');
  link.append('part', `${weight}:item:${id}`);
  return `?${link}`;
};
const actions = (hit) => {
  const to = (tab) => `?${new URLSearchParams({ tab, id: hit.id, in: shown.collection })}`;
  const go = (link) => { dialog.close(); tell('ask', { link }); };
  const does = (word, link) =>
    make('button', { type: 'button', 'aria-label': `${word}: ${hit.caption}`, click: () => go(link) }, word);
  return [does(words.similar_to_this, to('similar')), does(words.describe_this, to('describe')),
    does(words.more_like, withPart(hit.id, 1)), does(words.less_like, withPart(hit.id, -1))];
};
const fill = (hit, src, caption, fields) => {
  const position = shown.hits.findIndex(({ id }) => id === hit.id);
  const step = (by, word, sign) => position >= 0 && shown.hits[position + by] && make('button', { type: 'button',
    class: by > 0 ? 'step next' : 'step', 'aria-label': word, click: () => show(shown.hits[position + by].id) }, sign);
  const name = hit.id.split('/').at(-1).replace(/\.\w+$/, '.webp');
  dialog.replaceChildren(
    make('div', { class: 'stage' }, make('img', { src, alt: caption }),
      step(-1, words.previous, '‹'), step(1, words.next, '›')),
    make('div', { class: 'data' }, make('h2', { id: 'hit_title' }, caption), hit.why && make('p', {}, hit.why),
      make('dl', {}, ...fields.flatMap(([field, text]) => [make('dt', {}, field), make('dd', {}, text)])),
      make('p', { class: 'actions' }, ...actions({ id: hit.id, caption }),
        make('a', { href: src, download: name }, words.download))),
    make('button', { type: 'button', class: 'close', 'aria-label': words.close, click: () => dialog.close() }, '×'));
  dialog.querySelector('.close').focus();
};
const show = async (id) => {
  const isNext = dialog.open, hit = shown.hits.find((one) => one.id === id) || { id, caption: '', src: '' };
  openId = id;
  fill(hit, hit.src, hit.caption, []);
  if (!isNext) dialog.showModal();
  tell('opened', { id, isNext });
  const item = await server.item([shown.collection, id]).catch(() => null);
  if (openId !== id) return;
  if (item) fill(hit, item.src, item.caption, item.fields);
  else fill(hit, hit.src, words.no_such_hit, []);
};

dialog.addEventListener('close', () => {
  const pick = [...element.querySelectorAll('.pick')].find((one) => one.dataset.id === openId);
  openId = null;
  tell('closed');
  pick?.focus({ preventScroll: true });
});
dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
dialog.addEventListener('keydown', ({ key }) => {
  const step = { ArrowLeft: '.step:not(.next)', ArrowRight: '.next' }[key];
  if (step) dialog.querySelector(step)?.click();
});
document.addEventListener('open', ({ detail: { id } }) => {
  if (!id) dialog.close();
  else if (id !== openId && shown?.hits) show(id);
});
