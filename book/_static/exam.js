// The exam of the book: nothing leaves the page, nothing is kept.
document.addEventListener("DOMContentLoaded", function () {
  const exam = document.getElementById("exam");
  if (!exam) return;
  const all = Array.from(exam.querySelectorAll("fieldset"));
  const count = all.filter((set) => !set.hidden).length;
  const result = document.getElementById("exam-result");
  let asked = all.filter((set) => !set.hidden);

  const lessons = (set) => set.dataset.lessons.split(" ");
  const chosen = (set) => set.querySelector("input:checked");

  function shuffle(items) {
    for (let i = items.length - 1; i > 0; i--) {
      const j = Math.floor(Math.random() * (i + 1));
      [items[i], items[j]] = [items[j], items[i]];
    }
    return items;
  }

  // One question of each lesson, then a second one, and so on; those that were just asked come last.
  function draw() {
    const seen = {};
    const last = new Set(asked);
    const pool = shuffle(all.slice());
    pool.sort((a, b) => last.has(a) - last.has(b));
    for (const set of pool) {
      const home = lessons(set)[0];
      set.turn = seen[home] = (seen[home] || 0) + 1;
    }
    pool.sort((a, b) => a.turn - b.turn);
    asked = shuffle(pool.slice(0, count));
    all.forEach((set) => { set.hidden = !asked.includes(set); });
    asked.slice().reverse().forEach((set) => exam.prepend(set));
    begin();
  }

  function begin() {
    exam.querySelectorAll("input").forEach((input) => { input.checked = false; input.disabled = false; });
    exam.querySelectorAll(".exam-said, .exam-lessons").forEach((part) => { part.hidden = true; });
    all.forEach((set) => { delete set.dataset.verdict; });
    result.textContent = "";
  }

  function make(tag, ...inside) {
    const element = document.createElement(tag);
    element.append(...inside);
    return element;
  }

  function lessonLink(number) {
    return exam.querySelector(`.exam-lessons a[data-lesson="${number}"]`).cloneNode(true);
  }

  function handIn() {
    const open = asked.filter((set) => !chosen(set));
    if (open.length) {
      result.replaceChildren(make("p", `${open.length} questions have no answer yet.`));
      open[0].querySelector("input").focus();
      return;
    }
    const of = {}, right = {};
    for (const set of asked) {
      const good = chosen(set).hasAttribute("data-right");
      for (const lesson of lessons(set)) {
        of[lesson] = (of[lesson] || 0) + 1;
        right[lesson] = (right[lesson] || 0) + good;
      }
      show(set, good);
    }
    const total = asked.filter((set) => set.dataset.verdict === "right").length;
    const again = Object.keys(of).filter((n) => right[n] < of[n]).sort((a, b) => right[a] / of[a] - right[b] / of[b] || a - b);
    const told = again.map((n) => make("li", lessonLink(n), `: ${right[n]} of ${of[n]} right`));
    const rest = Object.keys(of).filter((n) => right[n] === of[n]).sort();
    result.replaceChildren(
      make("h2", `${total} of ${asked.length} right`),
      make("p", again.length ? "See again, most missed first:" : "Nothing to see again."),
      ...(again.length ? [make("ul", ...told)] : []),
      make("p", rest.length ? `All right in: ${rest.join(", ")}.` : ""),
      make("p", "What was said about each answer stands above, below its question."),
    );
    result.focus();
  }

  function show(set, good) {
    set.dataset.verdict = good ? "right" : "wrong";
    for (const input of set.querySelectorAll("input")) {
      input.disabled = true;
      const said = input.closest("div").querySelector(".exam-said");
      said.hidden = !(input.checked || input.hasAttribute("data-right"));
      if (!said.dataset.text) said.dataset.text = said.textContent;
      said.textContent = (input.hasAttribute("data-right") ? "Right. " : "Not quite. ") + said.dataset.text;
    }
    set.querySelector(".exam-lessons").hidden = good;
  }

  document.getElementById("exam-hand-in").addEventListener("click", handIn);
  document.getElementById("exam-others").addEventListener("click", draw);
  begin();
});
