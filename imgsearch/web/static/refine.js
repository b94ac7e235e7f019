// Shows the parts of a query besides the main one as chips, each with a sign, a weight and a button to remove it.
const chip = (term, number, words) => {
  const say = (weight) => trigger('edit', { number, weight });
  const sign = make('button', { type: 'button', 'aria-label': `${term.weight > 0 ? words.more : words.less}: ${term.shown}` },
    term.weight > 0 ? '+' : '−');
  sign.addEventListener('click', () => say(-term.weight));
  const weight = make('input', { type: 'number', min: '0.1', max: '10', step: '0.1', 'aria-label': `${words.weight}: ${term.shown}` });
  weight.value = Math.abs(term.weight);
  weight.addEventListener('change', () => say(Math.sign(term.weight) * Math.abs(Number(weight.value))));
  const remove = make('button', { type: 'button', 'aria-label': `${words.remove}: ${term.shown}` }, '×');
  remove.addEventListener('click', () => say(null));
  const image = term.src ? [make('img', { src: term.src, alt: '' })] : [];
  return make('li', { class: term.weight > 0 ? 'more' : 'less' }, sign, ...image,
    make('span', { class: 'shown' }, term.shown), weight, remove);
};

const render = () => {
  const { terms = [], words = {} } = props.value || {};
  refill(element.querySelector('.terms'), ...terms.map((term, number) => chip(term, number, words)));
};

watch('value', render);
render();
