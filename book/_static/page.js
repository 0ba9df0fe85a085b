// What every page of the book needs, with figures or without.

// On paper nothing can be opened: hints, solutions and folded outputs are printed open, and fold again afterwards.
// A dark page is printed light.
(function () {
  var opened = [], page = document.documentElement, theme;
  window.addEventListener("beforeprint", function () {
    theme = page.dataset.theme;
    page.dataset.theme = "light";
    opened = Array.from(document.querySelectorAll("details:not([open])"));
    opened.forEach(function (fold) { fold.open = true; });
  });
  window.addEventListener("afterprint", function () {
    opened.forEach(function (fold) { fold.open = false; });
    opened = [];
    page.dataset.theme = theme;
  });
})();

// The theme calls its search button by another name than the one that is written on it.
document.addEventListener("DOMContentLoaded", function () {
  document.querySelectorAll(".search-button-field").forEach(function (button) { button.removeAttribute("aria-label"); });
  // And what unfolds a part of the contents has no name at all.
  document.querySelectorAll(".bd-sidebar-primary summary").forEach(function (fold) {
    fold.setAttribute("aria-label", "Pages of " + fold.closest("li").querySelector("a").textContent.trim());
  });
});

// A figure that is wider than the screen can be moved sideways, by the keyboard too.
(function () {
  function reach() {
    document.querySelectorAll(".widget-html-content, .widget-html-content > div, .moving-frames > div").forEach(function (part) {
      if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
      else part.removeAttribute("tabindex");
    });
  }
  window.addEventListener("resize", reach);
  window.addEventListener("load", function () {
    new ResizeObserver(reach).observe(document.querySelector("article") || document.body);
  });
  document.addEventListener("input", reach);
  document.addEventListener("click", function () { setTimeout(reach, 50); });
})();
