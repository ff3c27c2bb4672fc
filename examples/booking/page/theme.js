// The colour scheme, before the first paint: what was chosen here, else what
// the system prefers. A classic script, because a module would come too late.
(function () {
  'use strict';
  var root = document.documentElement;
  var chosen = null;
  try { chosen = localStorage.getItem('theme'); } catch (e) { /* storage may be off: the system decides */ }
  if (chosen === 'dark' || chosen === 'light') root.dataset.theme = chosen;

  document.addEventListener('DOMContentLoaded', function () {
    var button = document.getElementById('theme');
    var system = matchMedia('(prefers-color-scheme: dark)');
    function dark() { return root.dataset.theme ? root.dataset.theme === 'dark' : system.matches; }
    function show() { button.setAttribute('aria-pressed', String(dark())); }
    button.addEventListener('click', function () {
      root.dataset.theme = dark() ? 'light' : 'dark';
      try { localStorage.setItem('theme', root.dataset.theme); } catch (e) { /* then only for this visit */ }
      show();
    });
    system.addEventListener('change', show);
    show();
  });
})();
