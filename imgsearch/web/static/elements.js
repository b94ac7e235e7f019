// Creates an element with attributes, handlers of events (functions) and children. A string becomes text, never HTML.
const make = (tag, attributes, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(name, value);
    else if (value !== false) made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.filter((child) => child || child === 0));
  return made;
};

// Tells the other scripts of the page: 'ask' with a link, 'answer' with a value, 'open' with the id of an item.
const tell = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));

// Replaces the children of `root`. If a control had the focus, the control at the same position gets it.
const refill = (root, ...children) => {
  const controls = () => [...root.querySelectorAll(':is(button,input,summary)')];
  const focused = controls().indexOf(document.activeElement);
  root.replaceChildren(...children.filter(Boolean));
  if (focused >= 0) (controls()[focused] || controls().at(-1))?.focus();
};
