// Names the controls of interactive figures and questions for screen readers, in words. ipywidgets draws players with
// buttons of icons only, sliders whose handle has no name and tells an index, and options that belong to no group.
(function () {
  if (window.courseControls) return;
  window.courseControls = true;

  function set(element, attributes) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value && element.getAttribute(name) !== value) element.setAttribute(name, value);
    }
  }

  function words(element) {
    return element ? element.textContent.trim() : "";
  }

  function nameSlider(slider) {
    const name = words(slider.querySelector(".widget-label"));
    const shown = words(slider.querySelector(".widget-readout"));
    const handle = slider.querySelector(".noUi-handle");
    if (handle) set(handle, { "aria-label": name, "aria-valuetext": shown && `${name}: ${shown}` });
  }

  function namePlayer(player) {
    const row = player.closest(".widget-hbox");
    const of = words(row && row.querySelector(".widget-slider .widget-label")) || "the figure";
    const [play, stop, repeat] = player.querySelectorAll("button");
    const verb = play.querySelector(".fa-pause") ? "Pause" : "Play";
    set(play, { "aria-label": `${verb}: ${of}`, title: verb });
    set(stop, { "aria-label": `Back to the start: ${of}`, title: "Back to the start" });
    set(repeat, {
      "aria-label": `Repeat: ${of}`,
      title: "Repeat",
      "aria-pressed": String(repeat.classList.contains("mod-active")),
    });
  }

  function nameChoice(choice) {
    set(choice, { role: "group", "aria-label": words(choice.querySelector(".widget-label")) });
    for (const button of choice.querySelectorAll("button")) {
      set(button, { "aria-pressed": String(button.classList.contains("mod-active")) });
    }
  }

  function nameQuestion(options) {
    const question = options.closest(".widget-vbox");
    set(options, { role: "radiogroup", "aria-label": words(question && question.querySelector("b")) });
  }

  function nameDesk(desk) {
    set(desk, { role: "group", "aria-label": "Labelling desk", tabindex: "-1" }); // a click brings the keys here
  }

  function nameLive(part) {
    set(part, { "aria-live": "polite" });
  }

  function nameExam(exam) {
    const name = exam.classList.contains("course-placement") ? "Placement quiz" : "Exam";
    set(exam, { role: "group", "aria-label": name, tabindex: "-1" });
    for (const option of exam.querySelectorAll(".course-exam-option")) {
      set(option, { "aria-pressed": String(option.classList.contains("course-exam-chosen")) });
    }
  }

  const KINDS = [
    [".widget-slider", nameSlider],
    [".widget-play", namePlayer],
    [".widget-toggle-buttons", nameChoice],
    [".course-quiz .widget-radio-box", nameQuestion],
    [".course-desk", nameDesk],
    [".course-exam", nameExam],
    [".course-desk-live", nameLive],
  ];

  const DESKS = ".course-desk, .course-exam";

  // On a labelling desk and in the exam a single key presses the button that is marked with it: ipywidgets hears no keys. JupyterLab,
  // to which single keys mean other things (0 0 restarts the kernel), listens on the document: the window is first.
  window.addEventListener(
    "keydown",
    function (event) {
      const target = event.target instanceof Element ? event.target : document.body;
      const desk = target.closest(DESKS);
      const held = event.ctrlKey || event.metaKey || event.altKey;
      if (!desk || held || event.key.length !== 1 || event.key === " " || target.matches("input, textarea")) return;
      event.stopImmediatePropagation();
      const button = desk.querySelector(".course-key-" + CSS.escape(event.key.toLowerCase()));
      if (button && !event.repeat) button.click();
    },
    true
  );

  // A button that hides itself, the last question's for example, would lose the keys: the exam takes them.
  let pressed = null;
  document.addEventListener("focusin", function (event) {
    pressed = event.target.closest(".course-exam button");
  });

  function keepKeys() {
    if (!pressed || !pressed.isConnected || pressed.checkVisibility()) return;
    const exam = pressed.closest(".course-exam");
    pressed = null;
    if (exam.checkVisibility()) exam.focus({ preventScroll: true });
  }

  let due = false;
  function nameAll() {
    due = false;
    keepKeys();
    for (const [kind, name] of KINDS) document.querySelectorAll(kind).forEach(name);
  }

  // Widgets are drawn late, and write an index into the slider's words at each move.
  new MutationObserver(function () {
    if (!due) due = Boolean(setTimeout(nameAll, 50));
  }).observe(document.documentElement, {
    subtree: true,
    childList: true,
    characterData: true,
    attributeFilter: ["class", "aria-valuetext"],
  });
  nameAll();
})();
