// The wall: what was asked as chips, the number of hits, and the pictures. Text of a collection never becomes HTML.
const root = element.querySelector('.wall'), page = element.closest('.column'); // styles depend on its data
const live = make('p', { class: 'live', role: 'status' }); // it stays: what is put into a new one is not read out
const body = make('div', { style: 'display: contents' }); // an open dialog that is moved would leave its place
root.replaceChildren(body, live, dialog);
const bar = make('span', { class: 'actions' }); // on the tile under the pointer or with the focus
const more = make('button', { type: 'button', class: 'more', click: () => askMore() });
let shown = null, isWaiting = false; // `shown`: the value with all hits so far
const chosen = new Set(); // ids of hits
const untick = () => { chosen.clear(); render(); body.querySelector('.pick').focus(); };
let none = null; // the button for it; a new one each time: `refill` counts the controls that are still there
const countChosen = () => {
  const text = words.chosen.replace('{}', chosen.size);
  Object.assign(none, { hidden: !chosen.size, textContent: `${text} ×`, ariaLabel: `${words.clear}: ${text}` });
  return text;
};
const button = (text, link, attributes, ...children) =>
  make('button', { type: 'button', click: () => tell('ask', { link }), ...attributes }, text, ...children);
const chips = ({ chips: asked = [], clear }) => asked.length > 0 && make('ul', { class: 'chips' },
  ...asked.map(({ label, src, sign, without }) => make('li', {}, src && make('img', { src, alt: '' }),
    make('span', {}, sign ? `${sign}: ${label}` : label),
    button('×', without, { 'aria-label': `${words.remove}: ${label}` }))),
  make('li', { class: 'clear' }, button(words.clear, clear)));
const filters = ({ filters: columns, fold, link }) => {
  const type = () => tell('ask', { link: `${link}&${new URLSearchParams({ where: typed.value })}` });
  const named = { 'aria-label': words.filter_typed, placeholder: words.filter_info };
  const typed = make('input', { type: 'text', ...named, change: type });
  const count = (text) => new URLSearchParams(text).getAll('where').length;
  const value = ({ label, count: number, link: to }) =>
    button(label, to, { 'aria-pressed': String(count(to) < count(link)) }, make('b', {}, number));
  const folded = make('input', { type: 'checkbox', change: () => tell('ask', { link: fold.link }) });
  folded.checked = fold.on;
  const panel = make('div', { class: 'filters', hidden: root.querySelector('.filters')?.hidden ?? true }, // as it was
    ...columns.map(({ name, values }) => make('fieldset', {}, make('legend', {}, name), ...values.map(value))),
    typed, make('label', {}, folded, words.fold_copies));
  const open = () => { panel.hidden = !panel.hidden; toggle.ariaExpanded = String(!panel.hidden); };
  const toggle = make('button', { type: 'button', 'aria-expanded': String(!panel.hidden), click: open }, words.filters);
  return [toggle, panel];
};
const views = () => make('span', { class: 'views', role: 'group' }, ...['grid', 'map'].map((view) =>
  make('button', { type: 'button', 'aria-pressed': String((page.dataset.view || 'grid') === view),
    click: () => look(view) }, words[view])));
const sorts = ({ sorts: orders = [] }) => orders.length > 0 && make('select', { 'aria-label': words.sort,
  change: ({ target }) => tell('ask', { link: target.value }) },
  ...orders.map(({ label, link, on }) => make('option', { value: link, selected: on }, label)));
const look = (view) => {
  page.dataset.view = view;
  if (view === 'map') tell('map', shown);
  render();
};
const dates = new Intl.DateTimeFormat(`${words.code}-GB`, { dateStyle: 'long', timeZone: 'UTC' }); // the day first
const dayOf = ({ taken }) => { // a collection may have any other text in its place
  const day = new Date(/^\d{4}-\d\d-\d\d/.exec(taken)?.[0] ?? NaN);
  return isNaN(day) ? (taken === '' ? words.undated : taken) : dates.format(day);
};
// Of a tall or a very wide picture the tile would show the smaller part.
const fit = ({ target: t }) => t.classList.toggle('whole', Math.abs(t.naturalWidth / t.naturalHeight - 1.6) > 0.4);
const tile = (hit, day) => {
  const name = [hit.caption, hit.mark, hit.copies].filter(Boolean).join(', ');
  const pick = make('button', { type: 'button', class: 'pick', 'aria-label': name, 'data-id': hit.id, tabindex: '-1',
    click: () => tell('open', { id: hit.id }) }, make('img', { src: hit.src, alt: '', loading: 'lazy', load: fit }));
  const tick = make('input', { type: 'checkbox', tabindex: '-1', 'aria-label': `${words.choose}: ${hit.caption}`,
    change: () => { chosen[tick.checked ? 'add' : 'delete'](hit.id); live.textContent = countChosen(); } });
  tick.checked = chosen.has(hit.id);
  const choose = (event) => {
    if (event.type === 'focusin') tick.tabIndex = 0; // Tab goes from the picture to its own tick, not to all of them
    if (made.contains(bar) && event.type !== 'contextmenu') return; // its pressed button must stay
    if (event.type === 'contextmenu') event.preventDefault(); // a long press: where nothing hovers, the only way
    made.classList.toggle('held', event.type === 'contextmenu');
    bar.replaceChildren(...actions(hit));
    made.append(bar);
  };
  const made = make('li', { class: 'tile', pointerenter: choose, focusin: choose,
    focusout: () => { tick.tabIndex = -1; },
    contextmenu: (event) => event.pointerType === 'touch' && choose(event) },
    day && make('h2', { class: 'day' }, day), pick,
    hit.mark && make('span', { class: 'mark', 'aria-hidden': 'true' }, hit.mark),
    make('span', { class: 'corner' }, make('label', {}, tick),
      hit.copies && make('span', { class: 'copies', 'aria-hidden': 'true' }, hit.copies)),
    make('span', { class: 'caption', 'aria-hidden': 'true' }, hit.caption));
  return made;
};
const tiles = (hits, days = hits.map(dayOf)) => hits.length > 0 && make('ul', { class: 'tiles' },
  ...hits.map((hit, index) => tile(hit, days[index] !== days[index - 1] && days[index])));
const askMore = () => {
  if (isWaiting || !shown.following || root.ariaBusy) return;
  isWaiting = true;
  tell('more', shown.following);
};
new IntersectionObserver(([entry]) => entry.isIntersecting && askMore(), { rootMargin: '200px' }).observe(more);
// With more hits to come, an incomplete last row is left out.
const wholeRows = () => {
  const last = [...root.querySelectorAll('.tiles')].at(-1);
  if (!last) return;
  const width = getComputedStyle(last).gridTemplateColumns.split(' ').length;
  const count = last.children.length, left = shown.following && count > width ? count % width : 0;
  [...last.children].forEach((one, index) => { one.hidden = index >= count - left; });
};
const render = () => {
  const { error, count = '', time = '', notices = [], hits, likely = 0 } = shown;
  const asked = { link: shown.link, paths: pathsOf(shown.link), count: hits.length };
  const send = (kind) => trigger('download', { ...asked, kind, ids: [...chosen] });
  const save = (kind) => hits.length > 0 &&
    make('button', { type: 'button', click: () => send(kind) }, words[`export_${kind}`]);
  const rest = tiles(hits.slice(likely));
  const [toggle, panel] = shown.filters ? filters(shown) : [];
  const divider = likely > 0 && rest && make('p', { class: 'divider' }, words.less_likely);
  more.textContent = words.more_hits;
  none = make('button', { type: 'button', click: untick });
  countChosen();
  refill(body, chips(shown), error && make('p', { class: 'error', role: 'alert' }, error),
    make('div', { class: 'bar' }, make('p', { class: 'count', title: time }, error ? '' : count),
      none, sorts(shown), views(), toggle, save('csv'), save('json'), save('zip')), panel,
    ...notices.map((notice) => make('p', { class: 'notice' }, notice)),
    make('div', { class: 'grid' }, tiles(hits.slice(0, likely)), divider, rest, shown.following && more));
  live.textContent = error ? '' : [count, ...notices].filter(Boolean).join('. ');
  root.querySelector('.pick')?.setAttribute('tabindex', '0');
  wholeRows();
};
// The arrow keys walk from picture to picture; only one of them is reached by Tab.
root.addEventListener('keydown', (event) => {
  const pick = event.target.closest('.pick');
  const picks = [...root.querySelectorAll('.pick')].filter((one) => one.offsetParent);
  const here = picks.indexOf(pick), place = (one) => one.getBoundingClientRect();
  const away = (one) => Math.abs(place(one).left - place(pick).left);
  const row = (sign) => picks.filter((one) => sign * (place(one).top - place(pick).top) > 1)
    .sort((one, other) => sign * (place(one).top - place(other).top) || away(one) - away(other))[0];
  const next = here >= 0 && { ArrowLeft: () => picks[here - 1], ArrowRight: () => picks[here + 1], Home: () => picks[0],
    End: () => picks.at(-1), ArrowUp: () => row(-1), ArrowDown: () => row(1) }[event.key]?.();
  if (!next) return;
  event.preventDefault();
  pick.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});
watch('value', () => {
  const value = { hits: [], ...props.value };
  if (!value.link) return;
  root.removeAttribute('aria-busy');
  isWaiting = false;
  const isMore = value.start > 0 && shown?.following === value.link;
  if (isMore) {
    const { hits, likely, link, notices, count } = shown, more = likely === hits.length ? value.likely : 0;
    shown = { ...value, hits: [...hits, ...value.hits], likely: likely + more, link, notices };
    shown.count = count && shown.count; // none if nothing matches
  } else shown = value;
  if (!isMore) chosen.clear();
  render();
  page.dataset.asked = shown.chips.length > 0 ? new URLSearchParams(shown.link).get('tab') : '';
  if (!isMore) tell('answer', shown);
});
watch('saved', () => {
  const [name, text, path] = props.saved || [];
  if (!name) return;
  const href = path ? encodeURI(`gradio_api/file=${path}`) : URL.createObjectURL(new Blob([text]));
  const link = make('a', { download: name, href });
  link.click();
  URL.revokeObjectURL(link.href);
});
document.addEventListener('failed', ({ detail }) => {
  root.removeAttribute('aria-busy');
  shown = { ...shown, error: words[detail] };
  render();
});
document.addEventListener('asked', () => root.setAttribute('aria-busy', 'true'));
addEventListener('resize', () => shown && wholeRows());
// A picture dropped or pasted anywhere is a question: in "describe" if that tab is open, else in "find similar".
const give = (event, files = []) => {
  const file = [...files].find(({ type, name }) => type.startsWith('image/') || PICTURES.test(name));
  if (files.length) event.preventDefault();
  const isDescribe = document.querySelector('#describe_tab-button')?.getAttribute('aria-selected') === 'true';
  if (file) sendPicture(file, isDescribe ? 'describe' : 'similar');
  else if (files.length) tell('failed', 'no_picture_file');
};
document.addEventListener('paste', (event) => give(event, event.clipboardData?.files));
document.addEventListener('dragover', (event) => event.dataTransfer?.types.includes('Files') && event.preventDefault());
document.addEventListener('drop', (event) => give(event, event.dataTransfer?.files));
