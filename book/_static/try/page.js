// The boxes in which exercises are tried. Python is fetched when a reader presses Check the first time; nothing that she
// types leaves the page: her own browser keeps it.
"use strict";

(function () {
  const folder = new URL(".", document.currentScript.src).href;
  let worker = null; // Python's, once somebody has asked
  let awake = false; // it has said that it is ready
  let busy = null; // the box that waits for its verdict

  const part = (box, name) => box.querySelector(name);
  const say = (box, text) => { part(box, ".try-said").textContent = text; };

  // From a disk a page may neither start a worker nor fetch.
  const FROM_DISK = "A page that is opened from a disk may not run Python. Ask who gave you this book for its address on the web, "
    + "or let Python serve it: in the folder of the book's start page type\n\n    python -m http.server --bind 127.0.0.1 8000\n\n"
    + "and open http://127.0.0.1:8000/try.html";

  // What she typed is kept under the name of its exercise; a browser may refuse to keep anything, or be full.
  const nameOf = (box) => `from-bytes-to-reasoning.try.${box.dataset.exercise}`;
  function ask(storage) {
    try { return storage(localStorage); } catch { return null; }
  }

  function keep(box) {
    const { value, defaultValue } = part(box, "textarea"), untouched = value === defaultValue;
    part(box, ".try-anew").hidden = untouched;
    ask((kept) => (untouched ? kept.removeItem(nameOf(box)) : kept.setItem(nameOf(box), value)));
  }

  function bringBack(box) {
    const kept = ask((storage) => storage.getItem(nameOf(box)));
    if (kept !== null) part(box, "textarea").value = kept;
    part(box, ".try-anew").hidden = kept === null;
  }

  function beginAnew(box) {
    const area = part(box, "textarea");
    area.select(); // which focuses: the button that was pressed vanishes
    document.execCommand("insertText", false, area.defaultValue); // can be undone
    area.setSelectionRange(0, 0);
    if (busy !== box) say(box, "");
  }

  function setBusy(box) {
    const before = busy, stop = before && part(before, ".try-stop");
    if (stop && document.activeElement === stop) part(before, ".try-check").focus(); // a button that vanishes loses the keyboard
    if (stop) stop.hidden = true;
    if (box) part(box, ".try-stop").hidden = false;
    busy = box;
  }

  function start() {
    worker = new Worker(folder + "worker.mjs", { type: "module" });
    worker.onmessage = ({ data }) => hear(data);
    worker.onerror = (event) => hear({ failed: event.message || "worker.mjs" });
  }

  function end() {
    worker.terminate();
    worker = null;
    awake = false;
  }

  function hear({ awake: ready, said, failed }) {
    if (ready) awake = true;
    if (ready && busy) return say(busy, "Python is running your code.");
    const box = busy;
    if (failed !== undefined) end(); // the next press starts Python anew
    if (!box) return;
    setBusy(null);
    say(box, failed === undefined ? said : `Python could not run (${failed}). Is the folder _static of the book complete?`);
  }

  function check(box) {
    if (location.protocol === "file:") return say(box, FROM_DISK);
    if (busy) return say(box, busy === box ? "This is still running. Wait for the verdict, or stop it."
      : "Another exercise is still running. Wait for its verdict, or stop it there.");
    if (!worker) start();
    setBusy(box);
    say(box, awake ? "Python is running your code." : "Python is being loaded. The first time this takes some seconds.");
    const exercise = box.dataset.exercise, lab = exercise.split(".")[0];
    const setup = document.querySelector(`.try-setup[data-lab="${lab}"] pre`).textContent;
    worker.postMessage({ exercise, setup, code: part(box, "textarea").value });
  }

  function stop(box) {
    end();
    setBusy(null);
    say(box, "Stopped.");
  }

  // Enter keeps the indentation, and adds to it behind a colon. Tab moves on, as everywhere: it must lead out of the box.
  function indent(event) {
    const area = event.target, before = area.value.slice(0, area.selectionStart);
    const line = before.slice(before.lastIndexOf("\n") + 1), depth = /^ */.exec(line)[0];
    event.preventDefault();
    document.execCommand("insertText", false, `\n${depth}${line.trimEnd().endsWith(":") ? "    " : ""}`); // can be undone
  }

  for (const box of document.querySelectorAll(".try")) {
    part(box, ".try-check").addEventListener("click", () => check(box));
    part(box, ".try-stop").addEventListener("click", () => stop(box));
    part(box, ".try-anew").addEventListener("click", () => beginAnew(box));
    part(box, "textarea").addEventListener("input", () => keep(box));
    bringBack(box);
    part(box, "textarea").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      if (event.ctrlKey || event.metaKey || event.shiftKey) { event.preventDefault(); check(box); }
      else indent(event);
    });
  }
})();
