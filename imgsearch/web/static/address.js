() => {
  // Gradio sends all that the visitor asks to `root`, the address by which the proxy asked the app.
  const root = new URL(gradio_config.root, location), path = location.pathname.replace(/\/$/, '');
  if (root.hostname + root.pathname.replace(/\/$/, '') === location.hostname + path) return;
  const more = path && `, and start the app with GRADIO_ROOT_PATH=${path}`;
  const set = `Set in nginx "proxy_set_header Host $http_host;"${more}.`;
  document.body.textContent = `The app takes ${root.href} for its address. ${set}`;
}
