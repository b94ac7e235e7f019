// Creates an element with attributes and children. A child that is a string becomes text, never HTML.
const make = (tag, attributes, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

// Replaces the children of `root`. If a control had the focus, the control at the same position gets it.
const refill = (root, ...children) => {
  const controls = () => [...root.querySelectorAll(':is(button,input,summary)')];
  const focused = controls().indexOf(document.activeElement);
  root.replaceChildren(...children);
  if (focused >= 0) (controls()[focused] || controls().at(-1))?.focus();
};

