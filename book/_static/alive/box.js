// The box in which R1 thinks. Its files are fetched when a reader asks the first time: from a disk a page may not fetch,
// but it may add a script, so the weights come as one. Nothing is asked of another machine, nothing is kept.
"use strict";

(function (alive) {
  const folder = new URL(".", document.currentScript.src).href;
  const box = document.querySelector(".alive");
  const part = (name) => box.querySelector(`.alive-${name}`);
  const MAX_NEW_TOKENS = 120;
  const PACE = 70; // milliseconds between two tokens, so that one can read along; R1 itself is much faster
  const hurries = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
  const pause = (time) => new Promise((done) => setTimeout(done, time));

  let awake = null; // a promise of the model and its tokenizer, once somebody has asked
  let running = null; // {stopped: false} while R1 thinks

  // ----------------------------------------------------------------------------------- loading

  function addScript(name) {
    return new Promise((done, failed) => {
      const script = document.createElement("script");
      Object.assign(script, { src: folder + name, onload: done, onerror: () => failed(new Error(name)) });
      document.head.append(script);
    });
  }

  function bytesFromBase64(text) {
    const binary = atob(text), bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    return bytes.buffer;
  }

  async function wake() {
    await Promise.all(["model.js", "tokenizer.js", "weights.js"].map(addScript));
    const { settings, tokenizer, weights } = alive.stored; // from weights.js, which the book's build writes
    const tensors = alive.readSafetensors(bytesFromBase64(weights));
    return { model: new alive.DeepSeekV3(settings, tensors), tokenizer: new alive.Tokenizer(tokenizer) };
  }

  // ----------------------------------------------------------------------------------- showing

  function make(tag, kind, ...inside) {
    const element = document.createElement(tag);
    element.className = kind;
    element.append(...inside);
    return element;
  }

  // What is said is read out by a screen reader, as a whole; `unseen` is for it alone, where eyes have seen it come.
  function say(text, unseen = "") {
    part("said").replaceChildren(...(unseen ? [make("span", "alive-unseen", unseen + " ")] : []), text);
  }

  // Offers a sum that R1 has not practised to whoever wants to see what happens.
  function offer(sum, isNew) {
    const button = make("button", "alive-try", "Let it try all the same");
    button.type = "button";
    button.addEventListener("click", () => { part("sum").focus(); think(sum); });
    say(`${isNew} It may well be wrong. `);
    part("said").append(button);
  }

  // Shows tokens one by one: tags small, the thought in another style than the answer.
  class Page {
    constructor() {
      this.kind = "plain";
      this.text = part("text");
      this.text.replaceChildren();
    }
    show(token) {
      const tag = /^<\/?(think|answer)>$/.exec(token);
      if (tag) this.kind = token[1] === "/" ? "plain" : tag[1];
      if (token !== alive.END_OF_TEXT) this.text.append(make("span", tag ? "alive-tag" : `alive-${this.kind}`, token));
    }
  }

  function setRunning(run) {
    const wasInside = document.activeElement === part("stop");
    running = run;
    part("text").setAttribute("aria-busy", String(Boolean(run)));
    part("stop").hidden = !run;
    if (wasInside && !run) part("sum").focus(); // a button that vanishes would lose the keyboard
  }

  // ---------------------------------------------------------------------------------- thinking

  async function think(sum) {
    const run = { stopped: false };
    setRunning(run);
    part("text").replaceChildren();
    say(awake ? "R1 is thinking." : "R1 is being loaded.");
    try {
      awake = awake || wake();
      const { model, tokenizer } = await awake;
      if (!run.stopped) say("R1 is thinking.");
      const spent = await write(model, tokenizer, sum, run);
      run.stopped ? say("Stopped.") : tell(sum, spent);
    } catch (error) {
      awake = null; // the next click tries again
      say(`R1 could not be loaded (${error.message}). Is the folder _static of the book beside this page?`);
    }
    setRunning(null);
  }

  // Writes token by token. Gives the number of tokens and the milliseconds of computing, without the pauses between.
  async function write(model, tokenizer, sum, run) {
    const prompt = alive.questionPromptIds(tokenizer, `${sum}=?`), end = tokenizer.specialTokens[alive.END_OF_TEXT];
    const tokens = model.writeGreedily(prompt, end, MAX_NEW_TOKENS);
    const page = new Page(), spent = { tokens: 0, time: 0, hurries: hurries() };
    while (!run.stopped) {
      const begin = performance.now(), { value: id, done } = tokens.next();
      spent.time += performance.now() - begin;
      if (done) break;
      spent.tokens += 1;
      page.show(tokenizer.decode([id]));
      if (!spent.hurries) await pause(PACE);
    }
    return spent;
  }

  function tell(sum, { tokens, time, hurries }) {
    const text = part("text").textContent, { right, reason } = alive.verifyAnswer(sum, text);
    const met = alive.whatIsNew(sum) ? "" : alive.isHeldOut(sum)
      ? " It has never met this sum: one in ten was kept out of all that it read and practised."
      : " It may have met this sum. One in ten was kept out: change a digit or two, and you will meet one.";
    const speed = ` ${tokens} tokens, computed here in ${Math.max(1, Math.round(time))} ms${hurries ? "" : ", shown more slowly"}.`;
    const heard = text.replace(/<[^>]*>/g, " ").replace(/\s+/g, " ").trim();
    say(make("strong", "", right ? "Right: " : "Wrong: "), `R1 wrote: ${heard}.`);
    part("said").append(`${reason}.${met}${speed}`);
  }

  // ---------------------------------------------------------------------------------- the reader

  part("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const sum = alive.plainSum(part("sum").value), fault = alive.faultOf(sum);
    if (running) return say("R1 is still thinking. Wait for its answer, or stop it.");
    part("text").replaceChildren();
    if (fault) { say(fault); return part("sum").focus(); }
    const isNew = alive.whatIsNew(sum);
    return isNew ? offer(sum, isNew) : think(sum);
  });
  part("stop").addEventListener("click", () => { if (running) running.stopped = true; });
  part("form").hidden = false; // without JavaScript there is nothing to press
})(window.R1Alive);
