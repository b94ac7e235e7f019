// An element with attributes and children; a text among these stays a text.
const make = (tag, attributes, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

// Puts new children into `root` and leaves the focus on the control that it was on, by its place.
const refill = (root, ...children) => {
  const controls = () => [...root.querySelectorAll(':is(button,input,summary)')];
  const focused = controls().indexOf(document.activeElement);
  root.replaceChildren(...children);
  if (focused >= 0) (controls()[focused] || controls().at(-1))?.focus();
};

