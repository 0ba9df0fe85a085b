// The placement quiz of the book, by the rule of placement.py: two questions a lesson, nothing is kept.
document.addEventListener("DOMContentLoaded", function () {
  const quiz = document.getElementById("placement");
  if (!quiz) return;
  const sets = Array.from(quiz.querySelectorAll("fieldset"));
  const lessons = [...new Set(sets.map((set) => set.dataset.lessons))];
  const result = document.getElementById("placement-result");
  const buttons = quiz.querySelectorAll("button");
  const right = new Map(); // of the questions answered so far
  let asked = null;

  // What the answers say: lessons to skim, and the next question, null where it is over.
  function standing() {
    const skim = [];
    let inRow = 0;
    for (const lesson of lessons) {
      const own = sets.filter((set) => set.dataset.lessons === lesson);
      const missed = own.some((set) => right.get(set) === false);
      const open = own.find((set) => !right.has(set));
      if (!missed && open) return { skim, next: open };
      if (!missed) skim.push(lesson);
      inRow = missed ? inRow + 1 : 0;
      if (inRow === Number(quiz.dataset.enough)) break;
    }
    return { skim, next: null };
  }

  function make(tag, ...inside) {
    const element = document.createElement(tag);
    element.append(...inside);
    return element;
  }

  function link(lesson) {
    return quiz.querySelector(`.exam-lessons a[data-lesson="${lesson}"]`).cloneNode(true);
  }

  function ask(set, focus) {
    asked = set;
    sets.forEach((each) => { each.hidden = each !== set; });
    result.replaceChildren(make("p", `Lesson ${link(set.dataset.lessons).textContent}`));
    if (focus) set.querySelector("input").focus();
  }

  function finish(skim) {
    asked = null;
    sets.forEach((each) => { each.hidden = true; });
    buttons.forEach((button) => { button.hidden = true; });
    const first = lessons.find((lesson) => !skim.includes(lesson));
    result.replaceChildren(
      first ? make("h2", "Begin with ", link(first)) : make("h2", "You may skim every lesson"),
      make("p", skim.length ? "You may skim:" : "Skim none yet."),
      make("ul", ...skim.map((lesson) => make("li", link(lesson)))),
      make("p", "To skim is to read the summary and the exercises, and to do one of them. Read the others in order."),
    );
    result.focus();
  }

  function answer(good) {
    right.set(asked, good);
    const { skim, next } = standing();
    if (next) ask(next, true);
    else finish(skim);
  }

  document.getElementById("placement-next").addEventListener("click", function () {
    const chosen = asked.querySelector("input:checked");
    if (chosen) answer(chosen.hasAttribute("data-right"));
    else asked.querySelector("input").focus();
  });
  document.getElementById("placement-unknown").addEventListener("click", () => answer(false));
  document.getElementById("placement-stop").addEventListener("click", () => finish(standing().skim));
  ask(sets[0], false);
});
