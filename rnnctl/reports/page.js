// The page's own script: charts of a comparison, and the pictures of `pictures.py`.
// No library, no request. Everything it draws is made of the JSON elements of the page.
"use strict";

/** The JSON element of that name, or null where the page has none. */
function held(name) {
  const element = document.getElementById(name);
  return element ? JSON.parse(element.textContent) : null;
}

/** An element with attributes (`text` is its content) and children. */
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") made.textContent = value;
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Numbers that `packed` of pictures.py wrote. */
function unpacked({bytes, size, low, high}) {
  const raw = Uint8Array.from(atob(bytes), (char) => char.charCodeAt(0));
  const whole = size === 1 ? raw : new Uint16Array(raw.buffer);
  const step = (high - low) / (256 ** size - 1);
  return Float64Array.from(whole, (value) => low + step * value);
}

// -- charts of a comparison (Vega) ----------------------------------------------------------------

const specs = held("specs") ?? {};
window.views = {};
window.ready = Promise.all(Object.entries(specs).map(async ([name, spec]) => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const box = document.getElementById("chart-" + name);
  const made = await vegaEmbed(box, spec,
    {renderer: "svg", actions: false, tooltip: {theme: dark ? "dark" : "light"}});
  window.views[name] = made.view;
}));

let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  opened.forEach((one) => { one.open = true; });
});
addEventListener("afterprint", () => opened.forEach((one) => { one.open = false; }));

// -- a text, word by word -------------------------------------------------------------------------

const FAINTEST = 1.05;  // a factor below it is written ×1
const STRONGEST = 8;  // the factor that gets the full shade

/** "×2.3": so many times likelier; "÷2.3": less likely. */
function factor(nats) {
  const size = Math.exp(Math.abs(nats));
  if (size < FAINTEST) return "×1";
  return (nats > 0 ? "×" : "÷") + (size < 10 ? size.toFixed(1) : Math.round(size).toLocaleString("en"));
}

function percent(share) {
  const value = 100 * share;
  return value >= 10 ? `${value.toFixed(0)} %` : value >= 0.05 ? `${value.toFixed(1)} %` : "0 %";
}

/** A probability for people: "12 %", "0.3 %", "1 in 40,000". */
function chance(p) {
  if (p >= 0.001) return percent(p);
  return "1 in " + Number((1 / p).toPrecision(2)).toLocaleString("en");
}

/** Of a list whose row j has j entries, the entry i of row j. */
const at = (list, j, i) => list[j * (j - 1) / 2 + i];

/** A way to measure: what is written below a word, its shade from 0 to 1, and what it says. */
const WAYS = {
  leftOut: {
    label: (nats) => factor(nats),
    strength: (nats) => Math.min(1, Math.abs(nats) / Math.log(STRONGEST)),
    shade: (nats) => (nats >= 0 ? "helped" : "hindered"),
    legend: [["helped", "×2", "with this word the chosen word is twice as likely as without it"],
      ["hindered", "÷2", "half as likely (underlined)"]],
    spoken: (nats) => (Math.exp(Math.abs(nats)) < FAINTEST ? "makes no difference" :
      `makes it ${Math.exp(Math.abs(nats)).toFixed(1)} times ${nats > 0 ? "likelier" : "less likely"}`),
  },
  share: {
    label: (share) => percent(share),
    strength: (share) => Math.sqrt(share),
    shade: () => "share",
    legend: [["share", "25 %",
      "of the length of the gradient, which adds up to 100 % over all earlier words"]],
    spoken: (share) => `${percent(share)} of the gradient`,
  },
};

/** The section "Your text, word by word". */
class Words {
  constructor(box, {words, runs, focus}) {
    this.box = box;
    this.words = words;
    this.how = "leftOut";
    this.chosen = focus;
    this.runs = runs.map((run) => ({
      ...run, leftOut: unpacked(run.leftOut), share: unpacked(run.share),
    }));
    const place = box.querySelector("#words-runs");
    this.panels = this.runs.map((run) => this.panel(run, place));
    box.querySelectorAll("[data-how]").forEach((button) => {
      button.addEventListener("click", () => { this.how = button.dataset.how; this.draw(); });
    });
    this.draw();
  }

  panel(run, place) {
    const said = make("p", {class: "said", "aria-live": this.runs && place.children.length ? "off" : "polite"});
    const list = make("div", {class: "text", role: "listbox", "aria-orientation": "horizontal",
      "aria-label": `The text as the ${run.title} reads it; choose a word`});
    const options = this.words.map(([space, text], j) => {
      const lines = (space.match(/\n/g) ?? []).length;
      if (lines && j) list.append(make("br"));
      if (lines > 1 && j) list.append(make("span", {class: "gap", role: "presentation"}));
      const option = make("span", {class: "word", role: "option", tabindex: -1},
        make("span", {text}), make("i"));
      option.addEventListener("click", () => this.choose(j, option));
      list.append(option, " ");
      return option;
    });
    list.addEventListener("keydown", (event) => this.key(event, options));
    const panel = make("article", {class: "run", style: `--hue: ${run.color}`},
      make("h3", {}, `${run.title} `, make("small", {text: run.name === run.title ? "" : run.name})),
      said, list);
    place.append(panel);
    return {said, options};
  }

  choose(j, option) {
    this.chosen = Math.max(0, Math.min(this.words.length - 1, j));
    this.draw();
    option?.focus();
    document.dispatchEvent(new CustomEvent("word", {detail: this.chosen}));
  }

  key(event, options) {
    const last = this.words.length - 1;
    const moves = {ArrowRight: this.chosen + 1, ArrowLeft: this.chosen - 1, Home: 0, End: last,
      ArrowUp: () => this.beside(options, -1), ArrowDown: () => this.beside(options, 1)};
    let to = moves[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    if (typeof to === "function") to = to();
    event.preventDefault();
    to = Math.max(0, Math.min(last, to));
    this.choose(to, options[to]);
  }

  /** The word above (-1) or below (1) the chosen one, as they stand on the screen. */
  beside(options, direction) {
    const here = options[this.chosen].getBoundingClientRect();
    const middle = here.left + here.width / 2;
    let best = this.chosen, nearest = Infinity;
    options.forEach((option, j) => {
      const there = option.getBoundingClientRect();
      const down = direction * (there.top - here.top);
      if (down < here.height / 2) return;
      const far = 1000 * Math.round(down / here.height) + Math.abs(there.left + there.width / 2 - middle);
      if (far < nearest) [best, nearest] = [j, far];
    });
    return best;
  }

  draw() {
    const way = WAYS[this.how];
    this.box.querySelectorAll("[data-how]").forEach((button) => {
      button.setAttribute("aria-pressed", String(button.dataset.how === this.how));
    });
    const legend = this.box.querySelector("#words-legend");
    legend.replaceChildren(...way.legend.flatMap(([shade, sample, what]) => [
      make("span", {class: "swatch", style: `background: var(--${shade})`, text: sample}), ` ${what}  `]));
    this.panels.forEach((panel, k) => this.fill(panel, this.runs[k], way));
  }

  fill({said, options}, run, way) {
    const j = this.chosen;
    options.forEach((option, i) => {
      const value = i < j ? at(run[this.how], j, i) : null;
      option.tabIndex = i === j ? 0 : -1;
      option.setAttribute("aria-selected", String(i === j));
      option.classList.toggle("later", i > j);
      option.classList.toggle("down",
        value !== null && this.how === "leftOut" && value < -Math.log(FAINTEST));
      option.style.setProperty("--shade", value === null ? "transparent" : `var(--${way.shade(value)})`);
      option.style.setProperty("--strength", value === null ? 0 : way.strength(value).toFixed(3));
      const label = value === null ? "" : way.label(value);
      option.lastChild.textContent = label === "×1" || label === "0 %" ? "" : label;
      const where = i === j ? "chosen" : i > j ? "not read yet" : way.spoken(value);
      option.setAttribute("aria-label", `${this.words[i][1]}, ${where}`);
      option.title = i < j ? `${j - i} back: ${where}` : where;
    });
    said.replaceChildren(...this.sentence(run, way));
  }

  /** What the run thought of the chosen word, and which words moved it most. */
  sentence(run, way) {
    const j = this.chosen;
    const guesses = run.guesses[j].map(([text, p]) => `${text.trim() || "space"} ${percent(p)}`);
    const parts = [make("b", {text: this.words[j][1]}),
      `: ${chance(Math.exp(run.logChance[j]))} likely. Its beginning was expected to be ${guesses.join(", ")}. `];
    const order = [...Array(j).keys()].sort((a, b) =>
      way.strength(at(run[this.how], j, b)) - way.strength(at(run[this.how], j, a)));
    const strongest = order.slice(0, 3).filter((i) => !["×1", "0 %"].includes(way.label(at(run[this.how], j, i))));
    if (strongest.length) {
      parts.push("Most moved by " + strongest.map((i) =>
        `${this.words[i][1]} (${j - i} back, ${way.label(at(run[this.how], j, i))})`).join(", ") + ". ");
      const far = [...Array(j).keys()].find((i) => !["×1", "0 %"].includes(way.label(at(run[this.how], j, i))));
      parts.push(make("b", {text: `Furthest that counts: ${j - far} back.`}));
    } else if (j) parts.push("No earlier word moved it measurably.");
    return parts;
  }
}

const pictures = held("pictures");
if (pictures) {
  const words = document.getElementById("words");
  if (words) window.words = new Words(words, pictures);
}
