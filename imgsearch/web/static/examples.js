// Shows the example pictures as buttons, each with a name for screen readers.
const render = () => {
  const items = (props.value?.pictures || []).map((picture, number) => {
    const named = { type: 'button', title: picture.name, 'aria-label': picture.name };
    const button = make('button', named, make('img', { src: picture.src, alt: '' }));
    button.addEventListener('click', () => trigger('select', { number }));
    return make('li', {}, button);
  });
  element.querySelector('.label').textContent = props.value?.title || '';
  element.querySelector('.examples').replaceChildren(...items);
};

watch('value', render);
render();
