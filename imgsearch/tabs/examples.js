// Example pictures as buttons, each with its name.
const render = () => {
  const items = (props.value?.pictures || []).map((picture, number) => {
    const image = Object.assign(document.createElement('img'), { src: picture.src, alt: '' });
    const button = Object.assign(document.createElement('button'), { type: 'button', title: picture.name });
    button.setAttribute('aria-label', picture.name);
    button.append(image);
    button.addEventListener('click', () => trigger('select', { number }));
    const item = document.createElement('li');
    item.append(button);
    return item;
  });
  element.querySelector('.label').textContent = props.value?.title || '';
  element.querySelector('.examples').replaceChildren(...items);
};

watch('value', render);
render();
