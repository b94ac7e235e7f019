() => {
  // Gradio sends all that the visitor asks to `root`, the address by which the proxy asked the app.
  const root = new URL(gradio_config.root, location);
  const path = location.pathname.replace(/\/$/, '');
  if (root.hostname + root.pathname.replace(/\/$/, '') === location.hostname + path) return;
  document.body.textContent = `The app takes ${root.href} for its address. ` +
    'Set in nginx "proxy_set_header Host $http_host;"' + (path && `, and start the app with GRADIO_ROOT_PATH=${path}`) + '.';
}
