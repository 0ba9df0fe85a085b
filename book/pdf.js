// What a page of the book shows, as HTML that needs no script: one chapter of the printed book.
// Names get the page's own in front, for all pages will stand in one document, where links lead to them.
(address) => {
  const book = new URL(".", address).href;
  const nameOf = (url) => url.split("#")[0].slice(book.length).replace(/\.html$/, "").replace(/\W/g, "-");
  const here = nameOf(document.baseURI);

  const article = document.querySelector("article.bd-article");
  article.querySelectorAll("details").forEach((fold) => { fold.open = true; });
  // those of figures stand in the article, and go with what is not on view
  const drawn = [...document.querySelectorAll("style")].map((style) => style.textContent);
  // a script or style sheet is not on view either; what MathJax and FontAwesome define for later use must stay
  [...article.querySelectorAll("*")]
    .filter((part) => !part.checkVisibility() && !part.closest("svg, mjx-assistive-mml, template"))
    .forEach((part) => part.remove());

  article.querySelectorAll("[id]").forEach((part) => { part.id = `${here}--${part.id}`; });
  for (const attribute of ["for", "aria-labelledby", "aria-describedby", "aria-controls"]) {
    article.querySelectorAll(`[${attribute}]`).forEach((part) => {
      const names = part.getAttribute(attribute).split(/\s+/);
      part.setAttribute(attribute, names.map((name) => `${here}--${name}`).join(" "));
    });
  }
  article.querySelectorAll("use").forEach((use) => {
    const name = use.getAttributeNS("http://www.w3.org/1999/xlink", "href") || use.getAttribute("href");
    use.setAttributeNS("http://www.w3.org/1999/xlink", "xlink:href", `#${here}--${name.slice(1)}`);
  });
  article.querySelectorAll("a[href]").forEach((link) => {
    if (!link.href.startsWith(book)) return;
    const [page, part] = link.href.split("#");
    link.setAttribute("href", `#${nameOf(page)}` + (part ? `--${part}` : ""));
  });
  article.querySelectorAll("img").forEach((image) => { image.src = image.src; image.loading = "eager"; });

  const styles = [...document.querySelectorAll("link[rel=stylesheet]")].map((sheet) => sheet.href);
  return {name: here, title: document.querySelector("h1").firstChild.textContent, html: article.innerHTML, styles, drawn};
}
