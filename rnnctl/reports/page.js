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
    else if (value !== null && value !== undefined && value !== false)
      made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Numbers that `packed` of pictures.py wrote. */
function unpacked({bytes, size, low, high}) {
  const raw = bits(bytes);
  const whole = size === 1 ? raw : new Uint16Array(raw.buffer);
  const step = (high - low) / (256 ** size - 1);
  const made = new Float64Array(whole.length);
  // A plain loop: `from` with a function takes ten times as long, and there are millions of them.
  for (let k = 0; k < whole.length; k += 1) made[k] = low + step * whole[k];
  return made;
}

/** The numbers of a state or gate, unit after unit: see `_array` of pictures.py. */
function ofUnits(array) {
  const values = unpacked(array);
  const {scales} = array;
  if (!scales) return values;
  const steps = values.length / scales.length;
  for (let k = 0; k < values.length; k += 1) values[k] *= scales[Math.floor(k / steps)];
  return values;
}

/** The bytes that base64 stands for. */
function bits(text) {
  const read = atob(text);
  const made = new Uint8Array(read.length);
  for (let k = 0; k < read.length; k += 1) made[k] = read.charCodeAt(k);
  return made;
}

/** `record` whose field `name` is made when somebody first looks at it. */
function lazily(record, name, make) {
  Object.defineProperty(record, name, {
    configurable: true,
    enumerable: true,
    get() {
      const value = make();
      Object.defineProperty(record, name, {value, enumerable: true});
      return value;
    },
  });
  return record;
}

// -- charts of a comparison (Vega) ----------------------------------------------------------------

const specs = held("specs") ?? {};
window.views = {};
window.ready = Promise.all(
  Object.entries(specs).map(async ([name, spec]) => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const box = document.getElementById("chart-" + name);
    const made = await vegaEmbed(box, spec, {
      renderer: "svg",
      actions: false,
      tooltip: {theme: dark ? "dark" : "light"},
    });
    window.views[name] = made.view;
  }),
);

let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  opened.forEach((one) => {
    one.open = true;
  });
});
addEventListener("afterprint", () =>
  opened.forEach((one) => {
    one.open = false;
  }),
);

// -- a text, word by word -------------------------------------------------------------------------

const FAINTEST = 1.05; // a factor below it is written ×1
const STRONGEST = 8; // the factor that gets the full shade

const MOST_TIMES = 1000; // what is beyond it is only said to be so

/** A factor of at least 1: "2.3", "720", "over 1,000"; `sign` stands before the number. */
function times(nats, sign = "") {
  const size = Math.exp(Math.abs(nats));
  if (size >= MOST_TIMES) return `over ${sign}${MOST_TIMES.toLocaleString("en")}`;
  return sign + (size < 9.95 ? size.toFixed(1) : Number(size.toPrecision(2)).toLocaleString("en"));
}

/** "×2.3": so many times likelier; "÷2.3": less likely; "over ×1,000". */
function factor(nats) {
  if (Math.exp(Math.abs(nats)) < FAINTEST) return "×1";
  return times(nats, nats > 0 ? "×" : "÷");
}

function percent(share) {
  const value = 100 * share;
  return value >= 10 ? `${value.toFixed(0)} %` : value >= 0.05 ? `${value.toFixed(1)} %` : "0 %";
}

/** An exponent: "⁻¹²". */
const raised = (power) =>
  [...String(power)].map((sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign])).join("");

/** A word within a sentence: a long one is cut. */
const brief = (word, most = 24) => (word.length > most ? `${word.slice(0, most - 1)}…` : word);

/** A probability for people: "12 %", "0.3 %", "1 in 40,000". */
function chance(p) {
  if (p >= 0.001) return percent(p);
  if (p < 1e-12) return `1 in 10${raised(Math.round(-Math.log10(p)))}`;
  return "1 in " + Number((1 / p).toPrecision(2)).toLocaleString("en");
}

/** Whether a label says more than that a word makes no difference. */
const says = (label) => label !== "×1" && label !== "0 %";

/** A way to measure: what is written below a word, its shade from 0 to 1, and what it says. */
const WAYS = {
  leftOut: {
    label: (nats) => factor(nats),
    counts: (nats) => Math.exp(Math.abs(nats)) >= FAINTEST,
    counting: "that makes the chosen word at least 5 % more or less likely",
    strength: (nats) => Math.min(1, Math.abs(nats) / Math.log(STRONGEST)),
    shade: (nats) => (nats >= 0 ? "helped" : "hindered"),
    legend: [
      [
        "helped",
        "×2",
        "with this word, the chosen word (or the answer) is twice as likely as without it",
      ],
      [
        "hindered",
        "÷2",
        "half as likely (underlined); no number: a change of less than 5 %",
      ],
    ],
    spoken: (nats) =>
      Math.exp(Math.abs(nats)) < FAINTEST
        ? "makes no difference"
        : `makes it ${times(nats)} times ${nats > 0 ? "likelier" : "less likely"}`,
  },
  share: {
    label: (share) => percent(share),
    counts: (share) => share >= 0.01,
    counting: "with at least 1 % of the gradient",
    strength: (share) => Math.sqrt(share),
    shade: () => "share",
    legend: [
      [
        "share",
        "25 %",
        "of the length of the gradient, which adds up to 100 % over all earlier words",
      ],
    ],
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
    this.whole = focus === words.length; // classifiers: one answer, of the whole text
    this.runs = runs.map((run) => ({
      ...run,
      leftOut: unpacked(run.leftOut),
      share: unpacked(run.share),
    }));
    const place = box.querySelector("#words-runs");
    this.panels = this.runs.map((run) => this.panel(run, place));
    box.querySelectorAll("[data-how]").forEach((button) => {
      button.addEventListener("click", () => {
        this.how = button.dataset.how;
        this.draw();
      });
    });
    this.draw();
  }

  /** How much word i moved the prediction of word j: row j has j entries; an answer is one row. */
  moved(run, j, i) {
    return run[this.how][this.whole ? i : (j * (j - 1)) / 2 + i];
  }

  panel(run, place) {
    const said = make("p", {
      class: "said",
      "aria-live": this.runs && place.children.length ? "off" : "polite",
    });
    const list = make("div", {
      class: "text",
      role: "listbox",
      "aria-orientation": "horizontal",
      "aria-label": `The text as the ${run.title} reads it${this.whole ? "" : "; choose a word"}`,
    });
    const options = this.words.map(([space, text], j) => {
      const lines = (space.match(/\n/g) ?? []).length;
      if (lines && j) list.append(make("br"));
      if (lines > 1 && j) list.append(make("span", {class: "gap", role: "presentation"}));
      const option = make(
        "span",
        {class: "word", role: "option", tabindex: -1},
        make("span", {text}),
        make("i"),
      );
      option.addEventListener("click", () => this.choose(j, option));
      list.append(option, " ");
      return option;
    });
    if (this.whole) {
      const answer = make(
        "span",
        {class: "word answer", role: "option", tabindex: -1},
        make("span", {text: `→ ${run.answer}`}),
        make("i"),
      );
      list.append(answer);
      options.push(answer);
    }
    list.addEventListener("keydown", (event) => this.key(event, options));
    const panel = make(
      "article",
      {class: "run", style: `--hue: ${run.color}`},
      make(
        "h3",
        {},
        `${run.title} `,
        make("small", {text: run.name.toUpperCase() === run.title ? "" : run.name}),
      ),
      said,
      list,
    );
    place.append(panel);
    return {said, options};
  }

  choose(j, option) {
    this.looked = Math.max(0, Math.min(this.words.length - 1, j));
    if (!this.whole) this.chosen = this.looked;
    this.draw();
    option?.focus();
    document.dispatchEvent(new CustomEvent("word", {detail: this.looked}));
  }

  key(event, options) {
    const last = options.length - 1,
      here = Math.max(0, options.indexOf(document.activeElement));
    const moves = {
      ArrowRight: here + 1,
      ArrowLeft: here - 1,
      Home: 0,
      End: last,
      ArrowUp: () => this.beside(options, here, -1),
      ArrowDown: () => this.beside(options, here, 1),
    };
    let to = moves[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    if (typeof to === "function") to = to();
    event.preventDefault();
    to = Math.max(0, Math.min(last, to));
    this.choose(to, options[to]);
  }

  /** The word above (-1) or below (1) another one, as they stand on the screen. */
  beside(options, from, direction) {
    const here = options[from].getBoundingClientRect();
    const middle = here.left + here.width / 2;
    let best = from,
      nearest = Infinity;
    options.forEach((option, j) => {
      const there = option.getBoundingClientRect();
      const down = direction * (there.top - here.top);
      if (down < here.height / 2) return;
      const far =
        1000 * Math.round(down / here.height) + Math.abs(there.left + there.width / 2 - middle);
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
    legend.replaceChildren(
      ...way.legend.flatMap(([shade, sample, what]) => [
        make("span", {class: "swatch", style: `background: var(--${shade})`, text: sample}),
        ` ${what}  `,
      ]),
    );
    this.panels.forEach((panel, k) => this.fill(panel, this.runs[k], way));
    this.box.querySelector("#words-summary").textContent = this.whole ? "" : this.summary(way);
    this.box.querySelector("#words-equation")?.replaceChildren(...this.equation());
  }

  /** The place of the first word that counts for the prediction of word j; j where none does. */
  furthest(run, j, way) {
    for (let i = 0; i < j; i += 1) if (way.counts(this.moved(run, j, i))) return i;
    return j;
  }

  /** How far back each run looks over the whole text. */
  summary(way) {
    const means = this.runs.map((run) => {
      const back = this.words.map((_, j) => j - this.furthest(run, j, way)).slice(1);
      const mean = back.reduce((total, one) => total + one, 0) / back.length;
      return `${run.title}${this.runs.some((other) => other !== run && other.title === run.title) ? ` ${run.name}` : ""} ${mean.toFixed(1)}`;
    });
    return (
      `Distance of the furthest word ${way.counting}, in words, on average over this text: ` +
      `${means.join(", ")}.`
    );
  }

  /** What the numbers are, with those of the furthest word that counts in each run: the words next
   * to the chosen one move its prediction most, and need no memory. Where none counts, with those
   * of the word that moved it most.
   */
  equation() {
    const j = this.chosen;
    return this.runs.flatMap((run) => {
      const values = Array.from({length: j}, (_, i) => this.moved(run, j, i));
      if (!j) return [];
      const far = this.furthest(run, j, WAYS[this.how]);
      const strongest = values.reduce(
        (best, value, k) => (Math.abs(value) > Math.abs(values[best]) ? k : best),
        0,
      );
      const i = far < j ? far : strongest;
      const place = this.whole
        ? `the first word that counts, ${j - i} words from the end`
        : `the furthest word that counts, ${j - i} back`;
      const word = brief(this.words[j]?.[1] ?? run.answer),
        logChance = run.logChance[this.whole ? 0 : j];
      const other = brief(this.words[i][1]),
        name = make("b", {text: run.title});
      const line =
        this.how === "share"
          ? `: ‖∂ ln p(${word}) / ∂ ${other}‖ is ${percent(values[i])} of the sum over all earlier words`
          : `: ln p(${word}) − ln p(${word} without ${other}) = ` +
            `${this.difference(logChance, logChance - values[i])}, which is ${factor(values[i])}`;
      return [make("span", {class: "line"}, name, `${line}${far < j ? `; “${other}” is ${place}` : ""}`)];
    });
  }

  /** "−2.34 − (−4.10) = 1.76" */
  difference(whole, without) {
    const {digits, sign} = written([whole, without], (a, b) => a - b, whole - without);
    return (
      `${plain(whole, digits)} − ${signed(without, digits)} ${sign} ` + plain(whole - without, digits)
    );
  }

  fill({said, options}, run, way) {
    const j = this.chosen;
    options.forEach((option, i) => {
      const value = i < j ? this.moved(run, j, i) : null;
      option.tabIndex = i === j ? 0 : -1;
      option.setAttribute("aria-selected", String(i === j));
      option.classList.toggle("later", i > j);
      option.classList.toggle(
        "down",
        value !== null && this.how === "leftOut" && value < -Math.log(FAINTEST),
      );
      option.style.setProperty(
        "--shade",
        value === null ? "transparent" : `var(--${way.shade(value)})`,
      );
      option.style.setProperty("--strength", value === null ? 0 : way.strength(value).toFixed(3));
      const label = value === null ? "" : way.label(value);
      option.lastChild.textContent = says(label) ? label : "";
      const where = i === j ? "chosen" : i > j ? "not read yet" : way.spoken(value);
      option.setAttribute("aria-label", `${this.words[i]?.[1] ?? run.answer}, ${where}`);
      option.title = i < j ? `${j - i} back: ${where}` : where;
    });
    said.replaceChildren(...this.sentence(run, way));
  }

  /** What the run thought of the chosen word, and which words moved it most. */
  sentence(run, way) {
    const j = this.chosen;
    const guesses = this.whole
      ? []
      : run.guesses[j].map(([text, p]) => `“${visible(text)}” ${percent(p)}`);
    const parts = this.whole
      ? [
          "Answer: ",
          make("b", {text: run.answer}),
          `. Probabilities: ${run.guesses[0].map(([label, p]) => `${label} ${percent(p)}`).join(", ")}. `,
        ]
      : [
          "Probability of ",
          make("b", {text: `“${brief(this.words[j][1])}”`}),
          `: ${chance(Math.exp(run.logChance[j]))}. `,
          `Likeliest tokens here: ${guesses.join(", ")}. `,
        ];
    const order = [...Array(j).keys()].sort(
      (a, b) => way.strength(this.moved(run, j, b)) - way.strength(this.moved(run, j, a)),
    );
    const strongest = order.slice(0, 3).filter((i) => says(way.label(this.moved(run, j, i))));
    if (strongest.length) {
      parts.push(
        "Changed most by " +
          strongest
            .map(
              (i) =>
                `“${brief(this.words[i][1])}” (${j - i} back, ${way.label(this.moved(run, j, i))})`,
            )
            .join(", ") +
          ". ",
      );
      const far = this.furthest(run, j, way);
      parts.push(
        make("b", {
          text: this.whole
            ? `First word that counts: “${brief(this.words[far][1])}”, ${j - far} words from the end.`
            : `Furthest word that counts: ${j - far} back.`,
        }),
      );
    } else if (j) parts.push(`No ${this.whole ? "" : "earlier "}word changed it measurably.`);
    return parts;
  }
}

// -- drawing ----------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element with attributes; `text` is its content. */
function draw(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") made.textContent = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Call `draw` whenever the box has another width: its height follows from what is drawn. */
function onWidth(box, draw) {
  let width = 0;
  new ResizeObserver(() => {
    if (box.clientWidth === width) return;
    width = box.clientWidth;
    draw();
  }).observe(box);
}

/** A row of buttons of which one is pressed; `chosen` hears its place. */
function choice(box, labels, chosen) {
  const buttons = labels.map((label, k) => {
    const button = make("button", {type: "button", text: label});
    button.addEventListener("click", () => press(k));
    return button;
  });
  const press = (k) => {
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === k)));
    chosen(k);
  };
  box.replaceChildren(...buttons);
  return press;
}

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
/** A number with so many decimals, and never "−0.00". */
function plain(value, digits = 2) {
  const size = Math.abs(value).toFixed(digits);
  return (value < 0 && Number(size) ? "−" : "") + size;
}

/** The same within a product or a difference. */
function signed(value, digits = 2) {
  const written = plain(value, digits);
  return written.startsWith("−") ? `(${written})` : written;
}

/** How to write `compute(...parts)` = `result` so that whoever computes it gets the result:
 * {digits, sign}. Two decimals or three, and "≈" where rounding shows at three as well.
 */
function written(parts, compute, result) {
  const misses = (digits, units) => {
    const [last, ...shown] = [result, ...parts].map((value) => Number(value.toFixed(digits)));
    return Math.abs(compute(...shown) - last) > (units + 1e-6) * 10 ** -digits;
  };
  if (!misses(2, 0.5)) return {digits: 2, sign: "="};
  return {digits: 3, sign: misses(3, 1) ? "≈" : "="};
}

const visible = (token) => token.replace(/ /g, "␣").replace(/\\n|\n/g, "⏎");

// -- inside a unit ----------------------------------------------------------------------------------

const LABELS = 118; // width of the names beside a trace
const GATE = 34; // height of a gate in a trace
const STATE = 84; // and of a state
const MAP_LEFT = 58; // of the map: room for the numbers of the units
const MAP_BELOW = 34; // and for the words
const SHUTS = 0.1; // a gate that falls by more than this shuts

/** What happens to what a unit held, of which this share is kept. */
const fate = (kept) =>
  kept > 0.9 ? "kept" : kept < 0.1 ? "erased" : kept < 0.5 ? "mostly erased" : "partly kept";

/** The section "Inside a unit". */
class Units {
  constructor(box, {runs, words, focus, longer, text}) {
    Object.assign(this, {box, words, longer, text});
    this.find = (id) => box.querySelector(`#units-${id}`);
    this.runs = runs
      .filter((run) => run.units)
      .map((run) => ({
        ...run,
        arrays: run.units.arrays.map((array) => lazily({...array}, "values", () => ofUnits(array))),
        bits: bits(run.units.active),
      }));
    this.place = Math.min(focus, words.length - 1);
    this.find("order").addEventListener("change", () => this.sort());
    this.find("number").addEventListener("change", () => this.toUnit());
    this.canvas = this.find("map");
    this.canvas.addEventListener("keydown", (event) => this.key(event, true));
    this.canvas.addEventListener("click", (event) => this.point(event));
    this.trace = this.find("trace");
    this.trace.addEventListener("keydown", (event) => this.key(event, false));
    this.drag();
    document.addEventListener("word", (event) => this.toWord(event.detail));
    onWidth(box, () => this.draw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    const best = Math.max(
      0,
      this.runs.findIndex((run) => run.arrays.length > 1),
    );
    choice(
      this.find("run"),
      this.runs.map(
        (run) => run.title + (run.name.toUpperCase() === run.title ? "" : ` ${run.name}`),
      ),
      (k) => this.use(k),
    )(best);
    if (this.runs.length < 2) this.find("run").hidden = true;
    this.open();
  }

  /** Begin where most is erased, over all units of the map, and say what is to be seen there:
   * the largest product of what a unit held and of how far its gate falls. Without gates: where a
   * unit's value changes most.
   */
  open() {
    const gate = this.keeps();
    const state = this.run.arrays.find(({name}) => name === this.run.units.state);
    let most = 0,
      found = null;
    for (let unit = 0; unit < this.count; unit += 1) {
      for (let t = 1; t < this.steps; t += 1) {
        // Not within the first word: from an empty state every value jumps.
        if (!this.run.owner[t]) continue;
        const at = unit * this.steps + t;
        const old = state.values[at - 1];
        const fall = gate ? gate.values[at - 1] - gate.values[at] : 0;
        const size = gate
          ? fall > SHUTS ? fall * Math.abs(old) : 0
          : Math.abs(state.values[at] - old);
        if (size > most) [most, found] = [size, [unit, t]];
      }
    }
    const said = this.find("opened");
    if (!found) {
      if (gate)
        said.textContent =
          `No ${gate.label} of the ${this.run.title} shuts in this text: none falls by more than ` +
          `${SHUTS} from one token to the next.`;
      return;
    }
    [this.unit, this.token] = found;
    this.place = this.run.owner[this.token];
    this.spread();
    this.draw();
    const two = (name) => [this.token - 1, this.token].map((t) => this.value(name, this.unit, t));
    const whose = `of ${this.name(this.unit)} of the ${this.run.title}`;
    const [from, to] = two((gate ?? state).name);
    const [held] = two(state.name);
    said.textContent =
      `It opens at ${this.where()}. ` +
      (gate
        ? `There the ${gate.label} ${whose} falls from ${plain(from)} to ${plain(to)}: what the unit ` +
          `held, ${state.name} = ${plain(held)}, is ${fate(to)}. Nowhere else in this map is more erased ` +
          "at once."
        : `There the ${state.label} ${whose} changes most, from ${plain(from)} to ${plain(to)}.`);
  }

  /** Look at another run. */
  use(k) {
    this.run = this.runs[k];
    this.count = this.run.units.list.length;
    this.steps = this.run.tokens.length;
    const known = [...new Set(this.run.units.list.flatMap(([, , , knows]) => Object.keys(knows)))];
    const order = this.find("order");
    const kept = order.value;
    order.replaceChildren(
      make("option", {value: "lasts", text: "how long they last"}),
      make("option", {value: "best", text: "how much they know of anything"}),
      ...(this.keeps()
        ? [
            make("option", {value: "keeps", text: `their ${this.keeps().label}, mean over this text`}),
            make("option", {value: "here", text: `their ${this.keeps().label} at the chosen token`}),
          ]
        : []),
      ...known.map((name) => make("option", {value: name, text: `how much they know of: ${name}`})),
      make("option", {value: "number", text: "their number"}),
    );
    if ([...order.options].some((option) => option.value === kept)) order.value = kept;
    const gates = ["forget", "keep"];
    const alike = !this.wanted || gates.includes(this.wanted) ? gates : [this.wanted];
    this.press = choice(
      this.find("array"),
      this.run.arrays.map((array) => array.label),
      (i) => {
        this.array = this.run.arrays[i];
        // A plain RNN has only one to choose.
        if (this.run.arrays.length > 1) this.wanted = this.array.name;
        this.draw();
      },
    );
    this.array = this.run.arrays[0];
    this.sort(false);
    this.toWord(this.place, false);
    this.press(
      Math.max(
        0,
        this.run.arrays.findIndex((array) => alike.includes(array.name)),
      ),
    );
  }

  /** The gate that keeps, of the run that is looked at; undefined where it has none. */
  keeps() {
    return this.run.arrays.find(({name}) => name === "forget" || name === "keep");
  }

  /** Put the units in order, and look at the first of them; `stay`: at the same unit as before. */
  sort(redraw = true, stay = false) {
    const by = this.find("order").value,
      list = this.run.units.list,
      {steps} = this;
    const gate = this.keeps()?.values;
    const mean = (unit) => {
      let sum = 0;
      for (let t = 0; t < steps; t += 1) sum += gate[unit * steps + t];
      return sum / steps;
    };
    const known = {
      best: ([, , , knows]) => Math.max(0, ...Object.values(knows)),
      lasts: ([, , lasts]) => lasts,
      number: ([layer, unit]) => -1e6 * layer - unit,
      keeps: (_, unit) => mean(unit),
      here: (_, unit) => gate[unit * steps + this.token],
    }[by];
    const worth = list.map((one, unit) => (known ? known(one, unit) : (one[3][by] ?? 0)));
    this.order = [...list.keys()].sort((a, b) => worth[b] - worth[a] || a - b);
    if (!stay) this.unit = this.order[0];
    if (redraw) {
      this.spread();
      this.draw();
    }
  }

  /** Go to the first token of a word. */
  toWord(j, redraw = true) {
    this.place = j;
    const {owner, tokens} = this.run;
    let t = owner.indexOf(j);
    while (t + 1 < owner.length && owner[t + 1] === j && !tokens[t].replace(/\\n/g, "").trim())
      t += 1;
    this.token = Math.max(0, t);
    this.spread();
    if (redraw) this.draw();
  }

  value(name, unit = this.unit, t = this.token) {
    const array = this.run.arrays.find((one) => one.name === name);
    return array && t >= 0 ? array.values[unit * this.steps + t] : undefined;
  }

  isActive(unit, t) {
    const [, , , , side, limit] = this.run.units.list[unit];
    return t >= 0 && t < this.steps && side * this.value(this.run.units.state, unit, t) > limit;
  }

  /** The stretch around the token in which the unit stays active, or the token alone. */
  spread() {
    this.from = this.to = this.token;
    while (this.isActive(this.unit, this.token) && this.isActive(this.unit, this.from - 1))
      this.from -= 1;
    while (this.isActive(this.unit, this.token) && this.isActive(this.unit, this.to + 1))
      this.to += 1;
  }

  key(event, inMap) {
    const across = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    const down = {ArrowDown: 1, ArrowUp: -1}[event.key];
    const ends = {Home: 0, End: this.steps - 1}[event.key];
    if ((across ?? down ?? ends) === undefined || event.ctrlKey || event.metaKey || event.altKey)
      return;
    event.preventDefault();
    if (down) {
      const row = this.order.indexOf(this.unit) + down;
      this.unit = this.order[Math.max(0, Math.min(this.count - 1, row))];
      this.spread();
    } else if (event.shiftKey && across) {
      const moves = across > 0 ? this.to + 1 : this.to - 1;
      this.to = Math.max(this.from, Math.min(this.steps - 1, moves));
    } else {
      this.token = Math.max(0, Math.min(this.steps - 1, ends ?? this.token + across));
      this.spread();
    }
    this.draw();
  }

  /** A click into the map. */
  point(event) {
    const frame = this.canvas.getBoundingClientRect();
    const part = (value, size, count) =>
      Math.max(0, Math.min(count - 1, Math.floor((value / size) * count)));
    const {clientLeft, clientTop} = this.canvas; // the border is no part of the map
    const x = event.clientX - frame.left - clientLeft - MAP_LEFT,
      y = event.clientY - frame.top - clientTop;
    const row = part(y, this.canvas.clientHeight - MAP_BELOW, this.count);
    this.unit = this.order[row];
    this.token = part(x, this.canvas.clientWidth - MAP_LEFT, this.steps);
    this.spread();
    this.draw();
  }

  /** Go to the unit whose number was typed: "15", or "2.15" for one of layer 2. */
  toUnit() {
    const typed = this.find("number").value.trim();
    const [number, layer] = typed.split(".").reverse().map(Number);
    const [current] = this.run.units.list[this.unit];
    const places = [...this.run.units.list.keys()].filter(
      (k) => this.run.units.list[k][1] === number && (!layer || this.run.units.list[k][0] === layer),
    );
    const found = places.find((k) => this.run.units.list[k][0] === current) ?? places[0];
    this.find("missing").textContent =
      found !== undefined || !typed
        ? ""
        : `There is no unit ${typed} in this map` +
          (this.count < this.run.units.of ? ", which holds the units that know most." : ".");
    if (found === undefined) return;
    this.unit = found;
    this.spread();
    this.draw();
  }

  /** Choose a stretch of the trace with the pointer. */
  drag() {
    let begun = null;
    const tokenAt = (event) => {
      const x = event.clientX - this.trace.firstChild.getBoundingClientRect().left;
      return this.columns?.find(({t, left, width}) => x >= left && x < left + width)?.t;
    };
    this.trace.addEventListener("pointerdown", (event) => {
      begun = tokenAt(event) ?? null;
    });
    this.trace.addEventListener("pointerup", (event) => {
      const end = tokenAt(event);
      if (begun === null || end === undefined) return;
      [this.from, this.to] = [Math.min(begun, end), Math.max(begun, end)];
      if (this.from === this.to) {
        this.token = this.from;
        this.spread();
      } else if (this.token < this.from || this.token > this.to) this.token = this.from;
      this.draw();
    });
  }

  draw() {
    if (!this.array || !this.order) return;
    if (this.find("order").value === "here") this.sort(false, true);
    this.drawMap();
    this.drawTrace();
    this.say();
    this.drawPlaces();
  }

  /** Colours from low to high: one hue for gates, two that part at 0 for states. */
  palette() {
    const rgb = (name) =>
      style(name)
        .match(/[0-9a-f]{2}/gi)
        .map((part) => parseInt(part, 16));
    const [paper, high, low] = [rgb("--map-none"), rgb("--map-high"), rgb("--map-low")];
    const mix = (to, part) => {
      const color = paper.map((value, k) => Math.round(value + (to[k] - value) * part));
      return new Uint32Array(Uint8Array.from([...color, 255]).buffer)[0]; // as a canvas holds it
    };
    return Uint32Array.from({length: 256}, (_, k) => {
      if (!this.array.signed) return mix(high, k / 255);
      const place = k / 127.5 - 1;
      return mix(place > 0 ? high : low, Math.abs(place));
    });
  }

  /** The ends of the colours: of states those that hold nearly all values. */
  scale() {
    const {signed, low, high} = this.array;
    if (!signed) return [low, high];
    if (!this.array.most) {
      const sizes = this.array.values.map(Math.abs).sort();
      this.array.most = sizes[Math.floor(0.98 * (sizes.length - 1))] || high;
    }
    return [-this.array.most, this.array.most];
  }

  drawMap() {
    const {values} = this.array,
      {count, steps} = this,
      [low, high] = this.scale();
    const small = new OffscreenCanvas(steps, count),
      pen = small.getContext("2d");
    const image = pen.createImageData(steps, count),
      pixels = new Uint32Array(image.data.buffer),
      colors = this.palette();
    this.order.forEach((unit, row) => {
      for (let t = 0; t < steps; t += 1) {
        const share = (values[unit * steps + t] - low) / (high - low);
        pixels[row * steps + t] = colors[Math.round(255 * Math.max(0, Math.min(1, share)))];
      }
    });
    pen.putImageData(image, 0, 0);
    const ratio = devicePixelRatio || 1;
    const width = this.canvas.parentElement.clientWidth - 2; // without the border
    const height = Math.max(140, Math.min(380, 3 * count)) + MAP_BELOW;
    this.canvas.style.height = `${height + 2}px`;
    [this.canvas.width, this.canvas.height] = [width * ratio, height * ratio];
    const big = this.canvas.getContext("2d");
    big.scale(ratio, ratio);
    big.imageSmoothingEnabled = false;
    const [wide, tall] = [width - MAP_LEFT, height - MAP_BELOW];
    big.drawImage(small, MAP_LEFT, 0, wide, tall);
    const [across, down] = [wide / steps, tall / count];
    const row = this.order.indexOf(this.unit);
    big.strokeStyle = style("--ink");
    big.lineWidth = 1;
    big.strokeRect(MAP_LEFT, row * down - 1, wide, down + 2);
    big.strokeRect(MAP_LEFT + this.token * across - 1, 0, across + 2, tall);
    this.drawAxes(big, across, down, width, tall);
    const ends = this.array.signed
      ? [
          ["--map-low", `${plain(low)} or less`],
          ["--map-none", "0"],
          ["--map-high", `${plain(high)} or more`],
        ]
      : [
          ["--map-none", "0: shut"],
          ["--map-high", "1: open"],
        ];
    const kept =
      this.count < this.run.units.of
        ? ` (the ${this.count} of ${this.run.units.of} that know most)`
        : "";
    this.find("legend").replaceChildren(
      `${this.array.label}: `,
      ...ends.flatMap(([color, label]) => [
        make("span", {class: "swatch map-swatch", style: `--swatch: var(${color})`, text: label}),
        " ",
      ]),
      `${this.count} units from top to bottom${kept}, the text from left to right`,
    );
  }

  /** The numbers of the units beside the map, and the words of the text below it. */
  drawAxes(pen, across, down, width, below) {
    pen.font = "11px system-ui, sans-serif";
    pen.fillStyle = style("--soft");
    const deep = this.run.units.list.some(([layer]) => layer !== 1);
    const number = (unit) => {
      const [layer, own] = this.run.units.list[unit];
      return deep ? `${layer}.${own}` : `${own}`;
    };
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    const chosen = this.order.indexOf(this.unit);
    const every = Math.ceil(26 / down);
    const at = (row) => Math.max(6, Math.min(below - 6, (row + 0.5) * down));
    for (let row = 0; row < this.count; row += every) {
      if (Math.abs(at(row) - at(chosen)) >= 13)
        pen.fillText(number(this.order[row]), MAP_LEFT - 5, at(row));
    }
    pen.textBaseline = "top";
    pen.textAlign = "left";
    const {owner} = this.run;
    const here = owner[this.token];
    const word = (j) => brief(this.words[j][1], 12);
    const place = (j) => {
      const size = pen.measureText(word(j)).width;
      const left = MAP_LEFT + Math.max(0, owner.indexOf(j)) * across;
      return [Math.min(left, width - size - 1), size];
    };
    const [hereLeft, hereSize] = place(here);
    let free = MAP_LEFT;
    [...new Set(owner)].forEach((j) => {
      const [left, size] = place(j);
      const hides = left < hereLeft + hereSize + 8 && left + size + 8 > hereLeft;
      if (left < free || hides) return;
      pen.fillText(word(j), left, below + 4);
      free = left + size + 8;
    });
    pen.fillText("the text, word after word →", MAP_LEFT, below + 19);
    pen.fillText(deep ? "layer.unit" : "unit", 2, below + 4);
    pen.fillStyle = style("--ink");
    pen.font = "bold 11px system-ui, sans-serif";
    pen.fillText(word(here), Math.min(hereLeft, width - pen.measureText(word(here)).width - 1), below + 4);
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    pen.fillText(number(this.unit), MAP_LEFT - 5, at(chosen));
  }

  name(unit) {
    const [layer, number] = this.run.units.list[unit];
    return `${this.run.units.list.some(([other]) => other !== 1) ? `layer ${layer}, ` : ""}unit ${number}`;
  }

  /** The chosen token: "“had”", or of a piece "“␣ha” in “had”". */
  where() {
    const token = this.run.tokens[this.token];
    const word = this.words[this.run.owner[this.token]][1];
    const whole = token.replace(/\\n/g, " ").trim() === word;
    return whole ? `“${brief(word)}”` : `“${visible(token)}” in “${brief(word)}”`;
  }

  /** The tokens that fit beside each other around the chosen one. */
  window() {
    const room = Math.max(120, this.trace.clientWidth - LABELS - 4);
    const width = (t) => Math.max(15, 7.5 * visible(this.run.tokens[t]).length + 6);
    let first = this.token,
      last = this.token,
      used = width(this.token);
    for (let grown = true; grown;) {
      grown = false;
      for (const t of [first - 1, last + 1]) {
        if (t < 0 || t >= this.steps || used + width(t) > room) continue;
        used += width(t);
        [first, last] = [Math.min(first, t), Math.max(last, t)];
        grown = true;
      }
    }
    let left = LABELS;
    return Array.from({length: last - first + 1}, (_, k) => {
      const column = {t: first + k, left, width: width(first + k)};
      left += column.width;
      return column;
    });
  }

  drawTrace() {
    this.columns = this.window();
    const gates = this.run.arrays.filter((array) => !array.signed);
    const states = this.run.arrays.filter((array) => array.name === "c" || array.name === "h");
    const height = GATE * gates.length + STATE * states.length + 26;
    const end = this.columns.at(-1).left + this.columns.at(-1).width;
    const picture = draw("svg", {width: end, height, "aria-hidden": "true"});
    const inside = ({t}) => t >= this.from && t <= this.to;
    for (const column of this.columns.filter(inside)) {
      picture.append(
        draw("rect", {class: "stretch", x: column.left, y: 0, width: column.width, height}),
      );
    }
    const here = this.columns.find(({t}) => t === this.token);
    picture.append(
      draw("rect", {
        class: "here",
        x: here.left + 0.5,
        y: 0.5,
        width: here.width - 1,
        height: height - 1,
      }),
    );
    let top = 0;
    const label = (array, middle) =>
      picture.append(
        draw("text", {x: 0, y: middle - 2, class: "label", text: array.label}),
        draw("text", {x: 0, y: middle + 12, class: "role", text: array.role}),
      );
    for (const array of gates) {
      label(array, top + GATE / 2);
      for (const {t, left, width} of this.columns) {
        const size = (GATE - 6) * this.value(array.name, this.unit, t);
        picture.append(
          draw("rect", {
            class: `gate ${array.name}`,
            x: left + 1,
            width: width - 2,
            y: top + GATE - 2 - size,
            height: size,
          }),
        );
      }
      picture.append(
        draw("line", {class: "axis", x1: LABELS, x2: end, y1: top + GATE - 2, y2: top + GATE - 2}),
      );
      top += GATE;
    }
    for (const array of states) {
      const middle = top + STATE / 2;
      const own = array.values.subarray(this.unit * this.steps, (this.unit + 1) * this.steps);
      const most = own.reduce((best, value) => Math.max(best, Math.abs(value)), 0.01);
      label(array, middle);
      for (const [sign, y] of [
        ["", top + 12],
        ["−", top + STATE - 6],
      ]) {
        picture.append(
          draw("text", {
            class: "role",
            x: LABELS - 4,
            y,
            "text-anchor": "end",
            text: sign + most.toFixed(1),
          }),
        );
      }
      picture.append(draw("line", {class: "axis", x1: LABELS, x2: end, y1: middle, y2: middle}));
      const [, , , , side, limit] = this.run.units.list[this.unit];
      const high = middle - ((STATE / 2 - 6) * side * limit) / most;
      if (array.name === this.run.units.state && high > top && high < top + STATE) {
        picture.append(
          draw("line", {class: "limit", x1: LABELS, x2: end, y1: high, y2: high}),
          draw("text", {
            class: "role",
            x: end - 2,
            y: high - 3,
            "text-anchor": "end",
            text: side > 0 ? "high above this line" : "high below this line",
          }),
        );
      }
      const points = this.columns.map(({t, left, width}) => [
        left + width / 2,
        middle - ((STATE / 2 - 6) * this.value(array.name, this.unit, t)) / most,
      ]);
      picture.append(draw("polyline", {class: `state ${array.name}`, points: points.join(" ")}));
      for (const [x, y] of points)
        picture.append(draw("circle", {class: "dot", cx: x, cy: y, r: 2}));
      top += STATE;
    }
    for (const {t, left, width} of this.columns) {
      picture.append(
        draw("text", {
          class: "token",
          x: left + width / 2,
          y: height - 9,
          text: visible(this.run.tokens[t]),
        }),
      );
    }
    this.trace.replaceChildren(picture);
  }

  /** What happens to the unit at the chosen token, in words and as the step's equation. */
  say() {
    const at = (name, t = this.token) => this.value(name, this.unit, t);
    const [, , lasts, knows] = this.run.units.list[this.unit];
    const known = Object.entries(knows)
      .sort((a, b) => b[1] - a[1])
      .slice(0, 2)
      .filter(([, share]) => share >= 0.01)
      .map(([name, share]) => `${percent(share)} of “${name}”`);
    const about = known.length ? `It knows ${known.join(" and ")}, and its` : "Its";
    const parts = [
      make("b", {text: `${this.name(this.unit)} of the ${this.run.title}`}),
      ` at ${this.where()}. `,
      `${about} value lasts ${lasts.toFixed(0)} token${lasts.toFixed(0) === "1" ? "" : "s"}. `,
    ];
    const equation = this.find("equation");
    const before = (name) =>
      this.token ? at(name, this.token - 1) : (this.run.units.before[name]?.[this.unit] ?? 0);
    if (at("forget") !== undefined && at("c") !== undefined) {
      const [f, i, g, o, c, h] = ["forget", "input", "candidate", "output", "c", "h"].map((name) =>
        at(name),
      );
      const old = before("c");
      parts.push(this.verbs(f, i * g, o));
      equation.textContent =
        `c = f · c₋₁ + i · g = ${this.sum([f, old, i, g], c)}` +
        `   and   h = o · tanh(c) = ${this.sum([o, Math.tanh(c)], h)}`;
    } else if (at("keep") !== undefined) {
      const [z, n, h] = ["keep", "candidate", "h"].map((name) => at(name));
      parts.push(this.verbs(z, (1 - z) * n, 1));
      equation.textContent = `h = z · h₋₁ + (1 − z) · n = ${this.sum([z, before("h"), 1 - z, n], h)}`;
    } else {
      if (this.run.step)
        parts.push("It has no gates: its value is replaced at every token.");
      const step = {tanh: "tanh(W x + U h₋₁ + b) = ", relu: "max(0, W x + U h₋₁ + b) = "};
      equation.textContent =
        `h = ${step[this.run.step] ?? ""}${plain(at("h"))}, where it was ${plain(before("h"))} before`;
    }
    const gate = this.keeps();
    if (gate) {
      let sum = 0;
      for (let unit = 0; unit < this.count; unit += 1) sum += this.value(gate.name, unit);
      gate.mean ??= gate.values.reduce((total, value) => total + value, 0) / gate.values.length;
      parts.push(
        ` Over all ${this.count} units the ${gate.label} is ${plain(sum / this.count)} at this token, ` +
          `${plain(gate.mean)} over the whole text.`,
      );
    }
    this.find("said").replaceChildren(...parts);
  }

  /** "0.98 · 1.81 + 0.03 · (−1.00) = 1.74": the sum of products of two, and what it is. */
  sum(factors, result) {
    const pairs = (of) => of.flatMap((value, k) => (k % 2 ? [] : [[value, of[k + 1]]]));
    const compute = (...of) => pairs(of).reduce((total, [a, b]) => total + a * b, 0);
    const {digits, sign} = written(factors, compute, result);
    const products = pairs(factors).map(([a, b]) => `${plain(a, digits)} · ${signed(b, digits)}`);
    return `${products.join(" + ")} ${sign} ${plain(result, digits)}`;
  }

  verbs(kept, added, shown) {
    const wrote = Math.abs(added) > 0.25 ? `, ${plain(added)} was written` : ", little was written";
    const seen = shown === 1 ? "" : shown > 0.5 ? ", and it is shown" : ", and it is hidden";
    return `What it held was ${fate(kept)} (${percent(kept)})${wrote}${seen}.`;
  }

  // -- other places --------------------------------------------------------------------------------

  /** Stretches of the longer text in which a unit is active: [first, last] tokens. */
  stretches(unit) {
    const steps = this.run.units.ends.length,
      row = Math.ceil(steps / 8);
    const on = (t) => (this.run.bits[unit * row + (t >> 3)] >> (7 - (t & 7))) & 1;
    const found = [];
    for (let t = 0; t < steps; t += 1) {
      if (!on(t)) continue;
      const first = t;
      while (t + 1 < steps && on(t + 1)) t += 1;
      found.push([first, t]);
    }
    return found;
  }

  /** Units that are active in the chosen stretch and not right outside of it. */
  alike() {
    const length = this.to - this.from + 1;
    return this.order.filter((unit) => {
      if (
        unit === this.unit ||
        this.isActive(unit, this.from - 1) ||
        this.isActive(unit, this.to + 1)
      )
        return false;
      let active = 0;
      for (let t = this.from; t <= this.to; t += 1) active += this.isActive(unit, t);
      return active >= 0.8 * length;
    });
  }

  drawPlaces() {
    const {ends} = this.run.units;
    const shown = this.run.tokens
      .slice(this.from, this.to + 1)
      .map(visible)
      .join("");
    const length = this.to - this.from + 1;
    const own = this.longer.indexOf(this.text);
    const range = ([first, last]) => [first ? ends[first - 1] : 0, ends[last]];
    const elsewhere = this.stretches(this.unit).filter((one) => {
      const [begin, end] = range(one);
      return own < 0 || end <= own || begin >= own + this.text.length;
    });
    const active = this.isActive(this.unit, this.token);
    const unlike = ([first, last]) => (active ? Math.abs(last - first + 1 - length) : first - last);
    elsewhere.sort((a, b) => unlike(a) - unlike(b) || a[0] - b[0]);
    const apart = elsewhere.reduce((kept, one) => {
      // not five times the same line
      if (kept.length < 5 && kept.every(([first]) => Math.abs(first - one[0]) > 60)) kept.push(one);
      return kept;
    }, []);
    const lines = apart.map((one) => {
      const [begin, end] = range(one);
      const line = (text) => text.replace(/\n/g, "⏎");
      return make(
        "li",
        {},
        line(this.longer.slice(Math.max(0, begin - 32), begin)),
        make("mark", {text: line(this.longer.slice(begin, end))}),
        line(this.longer.slice(end, end + 32)),
      );
    });
    const alike = this.alike().slice(0, 6);
    const jump = (unit) => {
      const button = make("button", {type: "button", text: this.name(unit)});
      button.addEventListener("click", () => {
        this.unit = unit;
        this.draw();
      });
      return button;
    };
    this.find("places").replaceChildren(
      make("h3", {text: `Where else is ${this.name(this.unit)} high?`}),
      make("p", {
        class: "note",
        text:
          `You chose “${brief(shown, 80)}”. The unit is ${active ? "high" : "not high"} there. ` +
          "(High: its value is among the 20 % that are furthest from its median.) " +
          `It is high in ${elsewhere.length} other stretches of the held-out text. ` +
          (active ? "Some of a similar length:" : "The longest:"),
      }),
      make("ol", {class: "places"}, ...lines),
      ...(alike.length
        ? [
            make("p", {class: "note", text: "Other units that are high here, but not just before or after:"}),
            make("div", {class: "switch"}, ...alike.map(jump)),
          ]
        : []),
    );
  }
}

// -- the gradient on its way back -------------------------------------------------------------------

const DEEPEST = -6; // power of ten at the bottom of the chart
const HIGHEST = 0.6; // and at its top: four times the gradient one token back
const DASHES = {h: "", c: "7 4"};

/** The pieces of a curve that lie in the frame, [place, log] each, and where it leaves it:
 * [place, whether upwards]. It is cut where it crosses the frame. */
function withinFrame(logs) {
  const isIn = (log) => log <= HIGHEST && log >= DEEPEST;
  const pieces = [],
    exits = [];
  let piece = [];
  Array.from(logs).forEach((log, k) => {
    const before = logs[k - 1];
    if (k && isIn(log) !== isIn(before)) {
      const out = isIn(log) ? before : log;
      const edge = out > HIGHEST ? HIGHEST : DEEPEST;
      const at = k - 1 + Math.max(0, Math.min(1, (edge - before) / (log - before)));
      piece.push([at, edge]);
      exits.push([at, out > HIGHEST]);
      if (!isIn(log)) pieces.push(piece.splice(0));
    }
    if (isIn(log)) piece.push([k, log]);
    else if (!k) exits.push([0, log > HIGHEST]);
  });
  if (piece.length) pieces.push(piece);
  return {pieces, exits};
}

/** A triangle at the frame's edge: here the curve goes on beyond it. */
function arrow(x, y, up, color) {
  const tip = up ? y - 8 : y + 8;
  return draw("path", {class: "beyond", d: `M${x - 6},${y} L${x + 6},${y} L${x},${tip} Z`, style: `fill: ${color}`});
}

/** The section "The gradient on its way back". */
class Gradient {
  constructor(box, {runs, words}) {
    Object.assign(this, {box, words});
    this.find = (id) => box.querySelector(`#gradient-${id}`);
    this.runs = runs
      .filter((run) => run.stages.length)
      .map((run) => {
        const head = run.answer === null ? run.owner.indexOf(run.owner.at(-1)) : run.owner.length;
        const stages = run.stages.map((stage) => ({
          title: stage.title,
          keeps: stage.keeps,
          left: Object.fromEntries(
            Object.entries(stage.norms).map(([name, norms]) => {
              const logs = unpacked(norms)
                .slice(0, head + 1)
                .reverse();
              // Relative to one token back, as REACH: a saturated cell hides c where it begins.
              const whole = logs[Math.min(1, logs.length - 1)];
              return [name, logs.map((value) => value - whole)];
            }),
          ),
        }));
        return {...run, head, stages};
      });
    this.count = Math.max(...this.runs.map((run) => run.stages.length));
    const far = Math.max(...this.runs.map((run) => run.head));
    const reached = Math.max(
      ...this.runs.flatMap((run) =>
        run.stages.flatMap((stage) =>
          Object.values(stage.left).map((logs) => logs.findLastIndex((value) => value > DEEPEST)),
        ),
      ),
    );
    this.most = Math.max(4, Math.min(far, Math.max(20, reached + 1), 160));
    const stage = this.find("stage");
    stage.max = this.count - 1;
    stage.value = 0; // before training: there the cells differ as the lecture says
    stage.addEventListener("input", () => this.draw());
    const lag = this.find("lag");
    lag.max = this.most;
    lag.addEventListener("input", () => this.draw());
    onWidth(box, () => this.draw());
    this.draw();
  }

  stage(run) {
    const share = this.count > 1 ? this.find("stage").value / (this.count - 1) : 1;
    return run.stages[Math.round(share * (run.stages.length - 1))];
  }

  draw() {
    const chart = this.find("chart"),
      width = Math.max(280, chart.clientWidth),
      height = 300;
    const [left, right, top, bottom] = [70, 96, 12, 40];
    const x = (lag) => width - right - (lag / this.most) * (width - left - right);
    const y = (log) =>
      top + ((HIGHEST - log) / (HIGHEST - DEEPEST)) * (height - top - bottom);
    const picture = draw("svg", {
      width,
      height,
      role: "img",
      "aria-label": "Length of the gradient by distance; the numbers follow as text and as a table",
    });
    for (let power = 0; power >= DEEPEST; power -= 1) {
      picture.append(
        draw("line", {class: "grid", x1: left, x2: width - right, y1: y(power), y2: y(power)}),
        draw("text", {
          class: "tick",
          x: left - 6,
          y: y(power) + 4,
          "text-anchor": "end",
          text: power % 2 ? "" : `${(100 * 10 ** power).toFixed(Math.max(0, -power - 2))} %`,
        }),
      );
    }
    const step = [1, 2, 5, 10, 20, 50].find((size) => this.most / size <= width / 90);
    for (let lag = 0; lag <= this.most; lag += step) {
      picture.append(
        draw("text", {
          class: "tick",
          x: x(lag),
          y: height - 20,
          "text-anchor": "middle",
          text: lag,
        }),
      );
    }
    picture.append(
      draw("text", {
        class: "tick",
        x: (left + width - right) / 2,
        y: height - 3,
        "text-anchor": "middle",
        text: "← further back in the text, tokens",
      }),
    );
    const ends = [];
    let beyond = 0;
    for (const run of this.runs) {
      for (const [name, logs] of Object.entries(this.stage(run).left)) {
        const {pieces, exits} = withinFrame(logs.slice(1, this.most + 1));
        const look = `stroke: ${run.color}; stroke-dasharray: ${DASHES[name] ?? ""}`;
        for (const piece of pieces) {
          const points = piece.map(([k, log]) => [x(k + 1), y(log)]);
          picture.append(draw("polyline", {class: "line", points: points.join(" "), style: look}));
        }
        for (const [k, up] of exits) {
          beyond += 1;
          picture.append(arrow(x(k + 1), y(up ? HIGHEST : DEEPEST), up, run.color));
        }
        const lag = Math.min(this.most, 2 + ends.length);
        ends.push({
          label: `${this.label(run)} ${name}`,
          color: run.color,
          dash: DASHES[name],
          from: logs[Math.min(lag, logs.length - 1)],
        });
      }
    }
    ends.sort((a, b) => b.from - a.from);
    ends.forEach((end, k) => {
      const row = top + 14 + 20 * k,
        begin = width - right + 8;
      picture.append(
        draw("line", {
          x1: begin,
          x2: begin + 22,
          y1: row - 4,
          y2: row - 4,
          class: "line",
          style: `stroke: ${end.color}; stroke-dasharray: ${end.dash ?? ""}`,
        }),
        draw("text", {class: "tick name", x: begin + 27, y: row, text: end.label}),
      );
    });
    const lag = Number(this.find("lag").value);
    picture.append(
      draw("line", {class: "cursor", x1: x(lag), x2: x(lag), y1: top, y2: height - bottom}),
    );
    chart.replaceChildren(picture);
    this.find("beyond").hidden = beyond === 0;
    const titles = [...new Set(this.runs.map((run) => this.stage(run).title))];
    this.find("title-of").textContent = titles.join(" / ");
    this.say(lag);
    this.find("when").textContent =
      `These numbers are of the weights ${titles.join(" / ")}, and of ${lag} tokens back: ` +
      "the two sliders above choose both.";
    this.find("equation").replaceChildren(
      ...this.runs.map((run) =>
        make("span", {class: "line"}, make("b", {text: this.label(run)}), this.equation(run, lag)),
      ),
    );
  }

  /** What one step does to the gradient, with the weights of the chosen point of training. */
  equation(run, lag) {
    const {left, keeps} = this.stage(run);
    const state = "c" in left ? "c" : "h",
      gate = "c" in left ? "f" : "z";
    const slope = {tanh: "diag(1 − h²) U", relu: "diag(h > 0) U"}[run.step];
    const step = keeps ? `${gate} + …` : (slope ?? "…");
    const open = keeps
      ? `, where ${gate} is ${plain(keeps[0])} on average and above ${plain(keeps[1])} in a tenth of the units`
      : "";
    const said = Object.entries(left)
      .sort()
      .filter(([, logs]) => lag < logs.length && lag > 1)
      .map(([name, logs]) => {
        const each = 10 ** (logs[lag] / (lag - 1));
        const result = this.share(10 ** logs[lag]);
        const holds = (digits) => this.share(Number(each.toFixed(digits)) ** (lag - 1)) === result;
        const digits = [2, 3, 4].find(holds);
        return `that of ${name} by ${each.toFixed(digits ?? 4)}${raised(lag - 1)} ${digits ? "=" : "≈"} ${result}`;
      });
    const product = said.length
      ? `; the steps from 1 to ${lag} tokens back multiply the gradient: ${said.join(", ")}`
      : "";
    return `: ∂${state}ₜ/∂${state}ₜ₋₁ = ${step}${open}${product}`;
  }

  label(run) {
    return this.runs.filter((other) => other.title === run.title).length > 1 ? run.name : run.title;
  }

  say(lag) {
    const parts = this.runs.map((run) => {
      const {left} = this.stage(run);
      const shares = Object.entries(left).map(
        ([name, logs]) => `${name} ${lag < logs.length ? this.share(10 ** logs[lag]) : "–"}`,
      );
      return `${this.label(run)} ${shares.join(", ")}`;
    });
    const run = this.runs[0];
    const place = run.head - lag - (run.answer === null ? 1 : 0);
    const word = place >= 0 ? ` (in “${brief(this.words[run.owner[place]][1])}”)` : "";
    this.find("said").textContent = `Left ${lag} tokens back${word}: ${parts.join("; ")}.`;
  }

  share(value) {
    const brief = (size) => Number(size.toPrecision(2)).toLocaleString("en");
    if (value >= 9.5e5) return "at least a million times as large"; // nothing larger is kept
    if (value >= 10) return `${brief(value)} times as large`;
    if (value >= 0.0005) return `${brief(100 * value)} %`;
    if (value <= 1e-12) return "nothing";
    const [digit, power] = (100 * value).toExponential(0).split("e");
    return `${digit} × 10${raised(Number(power))} %`;
  }
}

/** A moment later, so that what is there can be seen and used. */
const moment = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));

/** The sections from the top, each after the one before it has been drawn. */
async function drawPictures() {
  const pictures = held("pictures");
  if (!pictures) return;
  for (const [name, Section] of Object.entries({words: Words, units: Units, gradient: Gradient})) {
    const box = document.getElementById(name);
    if (!box) continue;
    new Section(box, pictures);
    await moment();
  }
}

window.ready = Promise.all([window.ready, drawPictures()]);
