// Starts the deck. MathJax and the widgets come after this file and read what it sets.
window.MathJax = { options: { enableMenu: false } };

(function () {
  const WIDGETS = ".jupyter-widgets";
  const SIZES = [1.9, 1.8, 1.7, 1.6, 1.5, 1.4, 1.3, 1.2, 1.1, 1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7];

  // Formulas stand a few pixels out of their lines.
  const inside = (box) => box.scrollHeight <= box.clientHeight + 4 && box.scrollWidth <= box.clientWidth + 1;

  // The largest size at which a slide's parts fit: live figures may grow, everything may shrink. What is larger still scrolls, by
  // keyboard too.
  function fit(slide) {
    const body = slide.querySelector(".body");
    if (!body) return;
    const right = (part) => part.getBoundingClientRect().right;
    const figures = [...body.querySelectorAll(".live :is(img, svg, table)")];
    const fits = () => inside(body) && figures.every((figure) => right(figure) <= right(body) + 1);
    SIZES.some(function (size) {
      body.style.setProperty("--size", size);
      return fits();
    });
    for (const box of [body, ...body.querySelectorAll("pre")]) if (!inside(box)) box.tabIndex = 0;
  }

  function fitShown() {
    if (Reveal.isReady()) document.querySelectorAll(Reveal.isPrintView() ? ".pdf-page section" : "section.present").forEach(fit);
  }

  // In a figure that is used, keys belong to the figure, but for those of a presenter's remote control.
  window.addEventListener(
    "keydown",
    function (event) {
      const inside = event.target instanceof Element && event.target.closest(WIDGETS);
      if (!inside) return;
      if (event.key === "Escape") document.activeElement.blur();
      else if (event.key === "PageDown") Reveal.next();
      else if (event.key === "PageUp") Reveal.prev();
      else return;
      event.stopImmediatePropagation();
      event.preventDefault();
    },
    true
  );

  const root = document.documentElement.classList;
  const onPaper = /print-pdf/.test(location.search);
  root.toggle("dark", !onPaper && matchMedia("(prefers-color-scheme: dark)").matches);

  Reveal.initialize({
    width: 1280,
    height: 720,
    margin: 0.02,
    center: false,
    hash: true,
    slideNumber: "c/t",
    transition: "none",
    pdfMaxPagesPerSlide: 1,
    pdfSeparateFragments: false,
    plugins: [RevealNotes],
    keyboardCondition: (event) => !document.activeElement.closest(WIDGETS),
    keyboard: { 68: () => root.toggle("dark") }, // d
  });
  for (const moment of ["ready", "slidechanged", "pdf-ready"]) Reveal.on(moment, fitShown);
  window.addEventListener("load", function () {
    // Widgets and formulas are drawn late.
    new MutationObserver(() => setTimeout(fitShown, 50)).observe(document.querySelector(".slides"), { childList: true, subtree: true });
    window.MathJax.startup.promise.then(fitShown);
  });
})();
