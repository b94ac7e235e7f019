// Shows a description: the sentence, what it can lead to, tags as bars and colours as swatches.
const render = () => {
  const value = props.value || {}, words = props.words || value.words || {};
  const root = element.querySelector('.description');
  if (value.error) return refill(root, make('p', { class: 'error', role: 'alert' }, value.error));
  if (!value.tags) return refill(root, make('p', { class: 'hint' }, words.describe_hint || ''));
  const copy = make('button', { type: 'button', click: () => {
    navigator.clipboard?.writeText(value.sentence).then(() => { copy.textContent = words.copied; });
  } }, words.copy);
  const bar = ([name, percent]) => make('li', {}, make('span', {}, name),
    make('meter', { min: 0, max: 100, value: percent, 'aria-label': name }), make('b', {}, `${percent} %`));
  const swatch = ([name, percent, colour]) => make('li', {}, make('i', { style: `background: ${colour}` }),
    make('span', {}, `${name} ${percent} %`));
  return refill(root,
    make('p', { class: 'sentence', id: 'sentence', title: value.time, 'aria-live': 'polite' }, value.sentence),
    make('p', { class: 'buttons' }, copy, value.search &&
      make('button', { type: 'button', id: 'search_description', click: () => tell('ask', { link: value.search }) },
        words.search_with_description)),
    value.tags.length > 0 &&
      make('ul', { class: 'tags', id: 'tags', 'aria-label': words.tags }, ...value.tags.map(bar)),
    value.colours.length > 0 &&
      make('ul', { class: 'swatches', id: 'colours', 'aria-label': words.colours }, ...value.colours.map(swatch)));
};

watch(['value', 'words'], render);
document.addEventListener('asked', ({ detail }) => {
  if (new URLSearchParams(detail).get('tab') !== 'describe') return;
  element.querySelector('.description').replaceChildren(); // never an old description beside a new picture
});
render();
