// Keeps the page's address and the page's state in step, in both directions.
const own = (link) => {
  const kept = new URLSearchParams(location.search);
  for (const key of props.keys) kept.delete(key);
  new URLSearchParams(link).forEach((value, key) => kept.append(key, value));
  return `?${kept}`;
};

let current = own(location.search);
let isFollowing = false; // opening a link, Back or Forward: replace the history entry instead of adding one
watch('value', () => {
  if (!props.value) return;
  const link = own(props.value);
  if (link !== current) history[isFollowing ? 'replaceState' : 'pushState'](null, '', link);
  current = link;
  isFollowing = false;
});
addEventListener('popstate', () => {
  current = own(location.search);
  isFollowing = true;
  trigger('input', { link: location.search });
});
document.addEventListener('click', (event) => {
  const tab = event.isTrusted && event.target.closest?.('[role=tab]');
  if (tab) trigger('select', { tab: tab.id.replace(/_tab-button$/, '') });
});
if (props.keys.some((key) => new URLSearchParams(location.search).has(key))) {
  isFollowing = true;
  trigger('submit', { link: location.search });
}
