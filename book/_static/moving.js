// The figures of the start page: all frames are in the page, the controls say which one is seen.
(function () {
  function show(figure, controls) {
    const place = controls.map((control) => (control.type === "range" ? control.value : control.selectedIndex)).join();
    figure.querySelectorAll("[data-frame]").forEach(function (frame) {
      frame.classList.toggle("shown", frame.dataset.frame === place);
    });
  }

  function say(slider) {
    const label = JSON.parse(slider.dataset.labels)[slider.value];
    slider.setAttribute("aria-valuetext", label);
    slider.closest(".moving-controls").querySelector("output").textContent = label;
  }

  // From where it stands to the end; from the end, anew.
  function player(button, slider) {
    let ticking = null;
    function stop() {
      clearInterval(ticking);
      ticking = null;
      button.textContent = "Play";
    }
    function step() {
      slider.stepUp();
      slider.dispatchEvent(new Event("input", { bubbles: true }));
      if (slider.value === slider.max) stop();
    }
    button.addEventListener("click", function () {
      if (ticking) return stop();
      if (slider.value === slider.max) slider.value = -1;
      button.textContent = "Pause";
      ticking = setInterval(step, 900);
    });
  }

  document.querySelectorAll(".moving").forEach(function (figure) {
    const controls = Array.from(figure.querySelectorAll("input, select"));
    figure.addEventListener("input", function (event) {
      if (event.target.type === "range") say(event.target);
      show(figure, controls);
    });
    figure.querySelectorAll("button").forEach(function (button) {
      player(button, button.nextElementSibling.querySelector("input"));
    });
    figure.querySelector(".moving-controls").hidden = false;
    show(figure, controls); // a browser may have kept where the controls stood
    controls.filter((control) => control.type === "range").forEach(say);
  });
})();
