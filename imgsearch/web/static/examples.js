// Shows questions to try as buttons: a text, or a picture with its caption as its name.
const render = () => {
  const { title, examples = [] } = props.value || {};
  element.querySelector('.label').textContent = words[title] || '';
  element.querySelector('.examples').replaceChildren(...examples.map(({ label, src, link }) => make('li', {},
    make('button', { type: 'button', title: label, 'aria-label': label, click: () => tell('ask', { link }) },
      src ? make('img', { src, alt: '' }) : label))));
};
watch('value', render);
render();
