// Keeps the page's address and the page's answer in step.
[document.title, document.documentElement.lang] = [words.title, words.code];
const own = (link, open = '') => {
  const kept = new URLSearchParams(location.search);
  for (const key of props.keys) kept.delete(key);
  new URLSearchParams(link).forEach((value, key) => key !== 'open' && value && kept.append(key, value));
  if (open) kept.append('open', open);
  return `?${kept}`;
};
let current = null, number = 0; // the link of the question asked last, and how many were asked
const send = (link, isTyped = false) => {
  const asked = new URLSearchParams(link), tab = asked.get('tab'), paths = pathsOf(link);
  const data = { link, paths, number, isTyped };
  trigger(['similar', 'describe'].includes(tab) ? 'input' : 'select', data);
  if (tab === 'describe' && (asked.get('id') || asked.get('u')) && !asked.get('from')) trigger('submit', data);
};
const ask = (link, how = 'pushState', isTyped = false) => {
  const address = own(link), isBelow = document.querySelector('.wall').getBoundingClientRect().top < 0;
  if (how === 'pushState' && isBelow) scrollTo(0, 0); // the answer begins there
  if (history.state?.isOpened) how = 'replaceState'; // Back leads to what the dialog was opened over
  if (address !== own(location.search) || location.search.includes('open=')) history[how](null, '', address);
  current = address;
  number += 1;
  tell('asked', link);
  document.querySelector(`#${new URLSearchParams(link).get('tab') || 'search'}_tab-button`)?.click();
  send(address, isTyped);
};
document.addEventListener('ask', ({ detail: { link, isTyped } }) => ask(link, 'pushState', isTyped));
document.addEventListener('more', ({ detail }) => send(detail));
document.addEventListener('describe', () => {
  if (new URLSearchParams(current).get('tab') === 'describe') ask(current);
});
// The dialog has its own address, so that Back closes it.
document.addEventListener('opened', ({ detail: { id, isNext } }) => {
  const address = own(location.search, id);
  if (address !== location.search) history[isNext ? 'replaceState' : 'pushState']({ isOpened: true }, '', address);
});
document.addEventListener('closed', () => {
  if (!location.search.includes('open=')) return;
  if (history.state?.isOpened) history.back();
  else history.replaceState(null, '', own(location.search));
});
addEventListener('popstate', () => {
  if (own(location.search) !== current) ask(own(location.search), 'replaceState');
  tell('open', { id: new URLSearchParams(location.search).get('open') });
});
const opened = new URLSearchParams(location.search).get('open');
if (opened) document.addEventListener('answer', () => tell('open', { id: opened }), { once: true });
current = own(location.search);
send(location.search);
