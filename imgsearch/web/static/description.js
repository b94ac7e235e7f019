// Shows a description: the sentence, what it can lead to, tags as bars and colours as swatches.
const hint = () => make('p', { class: 'hint' }, words.describe_hint);
const render = () => {
  const value = props.value || {}, root = element.querySelector('.description');
  if (value.error) return refill(root, make('p', { class: 'error', role: 'alert' }, value.error));
  if (!value.tags) return refill(root, hint());
  const copy = make('button', { type: 'button', click: () => {
    navigator.clipboard?.writeText(value.sentence).then(() => { copy.textContent = words.copied; });
  } }, words.copy);
  const list = (id, entries, isColour) => entries.length > 0 && make('ul', { id, 'aria-label': words[id] },
    ...entries.map(([name, percent, colour]) => make('li', {},
      isColour && make('i', { style: `background: ${colour}` }), `${name} `, make('b', {}, `${percent} %`))));
  return refill(root,
    make('p', { class: 'sentence', id: 'sentence', title: value.time, 'aria-live': 'polite' }, value.sentence),
    make('p', { class: 'buttons' }, copy, value.search &&
      make('button', { type: 'button', id: 'search_description', click: () => tell('ask', { link: value.search }) },
        words.search_with_description)),
    list('tags', value.tags, false), list('colours', value.colours, true));
};

watch('value', render);
document.addEventListener('asked', ({ detail }) => {
  if (new URLSearchParams(detail).get('tab') !== 'describe') return;
  // Never an old description beside a new picture.
  element.querySelector('.description').replaceChildren(...(/[?&](id|u)=/.test(detail) ? [] : [hint()]));
});
render();
