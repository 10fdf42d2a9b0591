"use strict";

/** An element with properties and children; texts become text nodes, never markup. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// --- tables that sort ---------------------------------------------------------------------------------------------------------

function makeSortable(table) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const next = { none: "ascending", ascending: "descending", descending: "none" };
  heads.forEach((head, index) => {
    const isNumeric = index > 0 && rows.some((row) => row.cells[index]?.dataset.value !== undefined);
    const valueOf = (row) => {
      const cell = row.cells[index];
      const text = cell?.dataset.value ?? (isNumeric || cell?.colSpan > 1 ? "" : (cell?.textContent.trim() ?? ""));
      return text === "" ? undefined : isNumeric ? Number(text) : text;
    };
    head.querySelector("button").addEventListener("click", () => {
      const order = next[head.getAttribute("aria-sort")];
      heads.forEach((other) => other.setAttribute("aria-sort", other === head ? order : "none"));
      const sign = order === "descending" ? -1 : 1;
      const compare = (one, other) => {
        const [a, b] = [valueOf(one), valueOf(other)];
        if (a === undefined || b === undefined) return (a === undefined) - (b === undefined); // what is missing stands last either way
        return sign * (isNumeric ? a - b : a.localeCompare(b, "en", { numeric: true }));
      };
      body.append(...(order === "none" ? rows : [...rows].sort(compare)));
    });
  });
}

async function copy(button) {
  const text = button.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const label = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = label), 1500);
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("button.copy").forEach((button) => button.addEventListener("click", () => copy(button)));

window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => (part.open = true)));

// --- examples to browse -------------------------------------------------------------------------------------------------------

const KINDS = { chains: "chains of thought, compressed", rationales: "rationales of a question", answers: "answers to test questions" };
const PAGE = 100; // items that the list grows by

function startBrowser(data, form, list, article, status) {
  const { runs, questions, texts, examples, counts } = data;
  const fields = form.elements;
  const numberOf = new Map(examples.map((example, number) => [example, number]));
  const twins = new Map();
  examples.forEach((example) => twins.set(twinKey(example), [...(twins.get(twinKey(example)) ?? []), example]));
  const kinds = Object.keys(KINDS).filter((kind) => examples.some((example) => example.kind === kind));
  let matching = [];
  let selected;
  let numListed = 0;
  let showsChanges = true;

  /** Equal for examples of several runs that are about the same. */
  function twinKey(example) {
    return `${example.kind} ${example.question} ${example.id}`;
  }

  function plain(entry) {
    return typeof entry === "string" ? entry : entry.map(([change, text]) => (change === "removed" ? "" : text)).join("");
  }

  /** All of an example that can be searched for, made when it is first asked for. */
  function searchable(example) {
    return (example.searchable ??= wordsOf(example).join("\n").toLowerCase());
  }

  function wordsOf(example) {
    const question = questions[example.question];
    return [example.id, question.text, question.gold, ...example.columns.flatMap((column) => [column.title, ...column.facts, plain(texts[column.text])])];
  }

  // Filters. Each menu offers what the filters before it leave.

  function offer(select, options) {
    const value = select.value;
    select.replaceChildren(...options.map(([name, label]) => make("option", { value: name, textContent: label })));
    select.value = options.some(([name]) => name === value) ? value : options[0][0];
    select.closest("label").hidden = options.length < 2 || (options.length === 2 && options[0][0] === "");
  }

  function offerSome(select, all, names, label = (name) => name) {
    offer(select, [["", all], ...[...new Set(names)].map((name) => [String(name), label(name)])]);
  }

  function outcomesOf(example, mode) {
    const columns = example.columns.filter((column) => !mode || column.mode === mode);
    return new Set([example.outcome, ...columns.map((column) => column.outcome)].filter(Boolean));
  }

  function filter() {
    offer(fields.kind, kinds.map((kind) => [kind, KINDS[kind]]));
    fields.kind.closest("label").hidden = false;
    let left = examples.filter((example) => example.kind === fields.kind.value);
    offerSome(fields.run, "all runs", left.map((example) => example.run), (number) => runs[number]);
    left = left.filter((example) => fields.run.value === "" || example.run === Number(fields.run.value));
    offerSome(fields.task, "all tasks", left.map((example) => questions[example.question].task));
    left = left.filter((example) => fields.task.value === "" || questions[example.question].task === fields.task.value);
    const words = fields.text.value.trim().toLowerCase();
    left = left.filter((example) => words === "" || searchable(example).includes(words));
    offerSome(fields.mode, "any mode", left.flatMap((example) => example.columns.map((column) => column.mode).filter(Boolean)));
    const outcomes = left.flatMap((example) => [...outcomesOf(example, fields.mode.value)]);
    const label = (name) => `${name} (${outcomes.filter((outcome) => outcome === name).length})`;
    offerSome(fields.outcome, "any outcome", [...outcomes].sort(), label);
    matching = left.filter((example) => fields.outcome.value === "" || outcomesOf(example, fields.mode.value).has(fields.outcome.value));
    showList();
  }

  function showList() {
    list.replaceChildren();
    numListed = 0;
    grow();
    status.textContent = summary();
    select(matching.includes(selected) ? selected : matching[0]);
  }

  function summary() {
    const kind = fields.kind.value;
    const counted = counts.filter((ofRun, run) => ofRun[kind] && (fields.run.value === "" || run === Number(fields.run.value))).map((ofRun) => ofRun[kind]);
    const [shown, all] = [0, 1].map((place) => counted.reduce((sum, numbers) => sum + numbers[place], 0));
    const runsCounted = counted.length > 1 ? `these ${counted.length} runs have` : "the run has";
    return `${matching.length} of ${shown} examples${shown < all ? `; ${runsCounted} ${all.toLocaleString("en")}` : ""}`;
  }

  // The list.

  function grow() {
    list.querySelector(".more")?.remove();
    list.append(...matching.slice(numListed, numListed + PAGE).map(item));
    numListed = Math.min(numListed + PAGE, matching.length);
    if (numListed < matching.length) {
      const more = make("button", { type: "button", className: "more", tabIndex: -1, textContent: `Show more of ${matching.length}` });
      more.addEventListener("click", grow);
      list.append(more);
    }
  }

  function item(example) {
    const question = questions[example.question];
    const name = make("p", { dir: "auto", textContent: question.text ?? example.id });
    const element = make("div", { className: "item", id: itemId(example) }, name, ...badges(example));
    if (runs.length > 1 && fields.run.value === "") element.append(make("small", { textContent: runs[example.run], title: runs[example.run] }));
    element.setAttribute("role", "option");
    element.setAttribute("aria-selected", example === selected);
    element.addEventListener("click", () => choose(example));
    return element;
  }

  function itemId(example) {
    return `example-${example.link}`;
  }

  function badges(example) {
    const withOutcome = example.columns.filter((column) => column.outcome && (column.mode || example.kind === "chains"));
    return [
      ...withOutcome.map((column) => badge(column.outcome, column.mode ? `${column.mode}: ${column.outcome}` : `original ${column.outcome}`)),
      ...(example.outcome ? [badge(example.outcome)] : []),
    ];
  }

  function badge(outcome, text = outcome) {
    const good = ["right", "won against base"].includes(outcome);
    const isNeutral = /^(ended by|shortened|\d+ of)/.test(outcome);
    return make("span", { className: `badge ${good ? "good" : isNeutral ? "" : "bad"}`, textContent: text });
  }

  function select(example) {
    selected = example;
    while (example && numListed <= matching.indexOf(example)) grow();
    list.querySelectorAll("[aria-selected=true]").forEach((option) => option.setAttribute("aria-selected", "false"));
    const element = example && document.getElementById(itemId(example));
    list.setAttribute("aria-activedescendant", element ? element.id : "");
    if (element) {
      element.setAttribute("aria-selected", "true");
      const [top, bottom] = [element.offsetTop - list.offsetTop, element.offsetTop - list.offsetTop + element.offsetHeight];
      if (top < list.scrollTop) list.scrollTop = top;
      if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
    }
    showExample();
  }

  function step(distance) {
    const place = matching.indexOf(selected) + distance;
    if (place >= 0 && place < matching.length) choose(matching[place]);
  }

  /** Show an example, and name it in the address. */
  function choose(example) {
    select(example);
    history.replaceState(null, "", `#${itemId(example)}`);
  }

  // One example.

  function showExample() {
    if (!selected) {
      article.replaceChildren(make("p", { className: "empty", textContent: "No example fits these filters." }));
      return;
    }
    const question = questions[selected.question];
    const asked = question.text ?? "The question's text is not known: the run was made before runs kept their questions.";
    const parts = [
      make("h3", { textContent: selected.id.startsWith(question.task) ? selected.id : `${question.task}: ${selected.id}` }),
      bar(),
      make("p", { className: "model question", dir: "auto", textContent: asked }),
      ...(question.gold === null ? [] : [make("p", {}, "Gold answer: ", make("strong", { dir: "auto", textContent: question.gold }))]),
      make("div", { className: "columns" }, ...selected.columns.map(column)),
    ];
    article.replaceChildren(...parts);
    article.classList.toggle("without-changes", !showsChanges);
  }

  function bar() {
    const place = matching.indexOf(selected);
    const buttons = [["Previous", -1], ["Next", 1]].map(([label, distance]) => {
      const button = make("button", { type: "button", textContent: label, disabled: !matching[place + distance] });
      button.addEventListener("click", () => step(distance));
      return button;
    });
    const link = make("button", { type: "button", className: "copy", textContent: "Copy link" });
    link.dataset.copy = `${location.href.split("#")[0]}#${itemId(selected)}`;
    link.addEventListener("click", () => copy(link));
    const counted = make("span", { className: "muted", textContent: `${place + 1} of ${matching.length}` });
    const parts = [...buttons, link, counted, make("span", {}, ...badges(selected))];
    if (runs.length > 1) parts.push(runMenu());
    if (selected.kind === "chains") {
      const box = make("input", { type: "checkbox", checked: showsChanges });
      box.addEventListener("change", () => {
        showsChanges = box.checked;
        article.classList.toggle("without-changes", !showsChanges);
      });
      parts.push(make("label", {}, box, " what each round ", make("del", { textContent: "removed" }), " and ", make("ins", { textContent: "added" })));
    }
    return make("div", { className: "bar" }, ...parts);
  }

  /** The run of the example, and the others that show the same question. */
  function runMenu() {
    const others = twins.get(twinKey(selected));
    if (others.length === 1) return make("span", { className: "muted", textContent: runs[selected.run] });
    const menu = make("select", {}, ...others.map((twin) => make("option", { value: numberOf.get(twin), textContent: runs[twin.run] })));
    menu.value = numberOf.get(selected);
    menu.addEventListener("change", () => open(examples[menu.value]));
    return make("label", {}, "in run ", menu);
  }

  function column(one) {
    const text = make("p", { className: "model", dir: "auto" }, ...pieces(texts[one.text]));
    if (text.textContent === "") text.append(make("span", { className: "empty", textContent: "(empty)" }));
    const head = make("h4", { dir: "auto" }, one.title, " ");
    if (one.outcome) head.append(badge(one.outcome));
    if (one.kept) head.append(make("span", { className: "badge good", textContent: "kept" }));
    const facts = make("p", { className: "facts", dir: "auto", textContent: one.facts.join(" · ") });
    return make("section", { className: one.kept ? "column kept" : "column" }, head, facts, text);
  }

  function pieces(entry) {
    if (typeof entry === "string") return [entry];
    const tags = { removed: "del", added: "ins" };
    return entry.map(([change, text]) => (tags[change] ? make(tags[change], { textContent: text }) : text));
  }

  // What the reader does.

  /** Show an example, whatever the filters say. */
  function open(example) {
    form.reset();
    filter();
    fields.kind.value = example.kind;
    filter();
    fields.run.value = String(example.run);
    filter();
    choose(example);
  }

  function openNamed() {
    const named = examples.find((example) => location.hash === `#${itemId(example)}`);
    if (!named) return;
    if (named !== selected) open(named);
    document.getElementById("examples").scrollIntoView();
  }

  form.addEventListener("change", (event) => event.target === fields.text || filter());
  fields.text.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  list.addEventListener("keydown", (event) => {
    const distance = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -matching.indexOf(selected), End: matching.length - 1 - matching.indexOf(selected) };
    if (event.key in distance) {
      event.preventDefault();
      step(distance[event.key]);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    if (event.key === "j") step(1);
    if (event.key === "k") step(-1);
    if (event.key === "/") {
      event.preventDefault();
      fields.text.focus();
    }
  });
  filter();
  openNamed();
  window.addEventListener("hashchange", openNamed);
}

const form = document.getElementById("filters");
if (form) {
  const [list, article, status] = ["list", "example", "status"].map((id) => document.getElementById(id));
  startBrowser(JSON.parse(document.getElementById("data").textContent), form, list, article, status);
}
