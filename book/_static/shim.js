// Keeps the theme, the widgets and MathJax 3 out of each other's way. Must be loaded before the widgets.

// The theme's icon script replaces <i> elements, which the Play widget still holds on to: it then throws, and the links
// between sliders and figures stop. Nested icons leave the <i> in place (course.css hides the doubled one).
window.FontAwesomeConfig = Object.assign({ autoReplaceSvg: "nest" }, window.FontAwesomeConfig);

// The widgets speak to MathJax 2 (MathJax.Hub.Queue); this passes what they ask for on to MathJax 3.
window.addEventListener("load", function () {
  var mathjax = window.MathJax;
  if (!mathjax || mathjax.Hub) return;
  mathjax.Hub = {
    Queue: function (call) {
      if (!mathjax.typesetPromise) return;
      mathjax.startup.promise = mathjax.startup.promise.then(function () {
        return mathjax.typesetPromise([call[2]]);
      });
    },
  };
});
