"use strict";
/* What the page can do beyond being read: move the line between two pictures, choose pictures, sort rows.
   Everything it shows is in the page already; it asks nothing of any network. */
const $ = name => document.getElementById(name);
document.documentElement.classList.add("scripted");

/* The line between two pictures follows its range input: mouse, touch, arrow keys. */
for (const pair of document.querySelectorAll(".pair")) {
  const range = pair.querySelector("input");
  range.addEventListener("input", () => pair.style.setProperty("--at", range.value + "%"));
}

const stored = $("scenes");
if (stored) view(JSON.parse(stored.textContent));
for (const table of document.querySelectorAll("table.figures")) sortable(table);
addEventListener("beforeprint", () => document.querySelectorAll("details.chapter").forEach(one => one.open = true));

function view({models, scenes, gain}) {
  const pair = $("view"), one = pair.querySelector(".one"), other = pair.querySelector(".other");
  const differs = pair.querySelector(".differs"), button = $("view-difference");
  document.querySelector(".controls").hidden = false;
  fill($("view-model"), models.map(model => [model.key, model.title]));
  const wanted = {task: null, prompt: null, one: "fp16", other: null};  // kept across models where they have it
  let scene;

  function chosen() {
    const mine = scenes.filter(entry => entry.model === $("view-model").value);
    fill($("view-task"), mine.map(entry => [entry.task, entry.named]), wanted.task);
    const tasked = mine.filter(entry => entry.task === $("view-task").value);
    fill($("view-prompt"), tasked.map(entry => [entry.prompt, entry.text]), wanted.prompt);
    scene = tasked.find(entry => entry.prompt === $("view-prompt").value);
    const sides = Object.entries(scene.sides).map(([name, side]) => [name, side.label]);
    fill($("view-one"), sides, wanted.one);
    fill($("view-other"), sides, wanted.other ?? sides[1][0]);
    show();
  }

  function show() {
    const [left, right] = [scene.sides[$("view-one").value], scene.sides[$("view-other").value]];
    put(one, left), put(other, right);
    pair.querySelector(".name-one").textContent = left.label;
    pair.querySelector(".name-other").textContent = right.label;
    pair.querySelector("input").setAttribute(
      "aria-label", `Where ${left.label} ends and ${right.label} begins, in percent`);
    const size = $("view-size").value, [width, height] = left.size;
    pair.classList.toggle("fixed", size !== "fit");
    pair.closest(".bench").classList.toggle("spread", size !== "fit" && width * size > 600);
    pair.classList.toggle("coarse", size === "4" || size === "fit" && width < 256);
    pair.style.setProperty("--wide", size === "fit" ? "" : width * size + "px");
    pair.style.setProperty("--ratio", `${width} / ${height}`);
    const how = difference();
    button.disabled = how === null;
    button.title = how === null ? "These two were made smaller for this page: what differs cannot be told of them" : "";
    say(left, right);
  }

  function put(image, side) {
    image.src = side.src;
    image.width = side.size[0], image.height = side.size[1];
    image.alt = `${side.label}: ${scene.text}`;
  }

  /* "blend": the browser subtracts lossless pictures; an address: a picture of it; null: not to be had. */
  function difference() {
    const names = [$("view-one").value, $("view-other").value], [left, right] = names.map(name => scene.sides[name]);
    if (left.exact && right.exact) return "blend";
    return scene.differences[names.join("|")] ?? scene.differences[names.reverse().join("|")] ?? null;
  }

  function hold(on) {
    const how = difference();
    if (how === null) on = false;
    button.setAttribute("aria-pressed", String(on));
    pair.classList.toggle("blended", on && how === "blend");
    differs.hidden = !(on && how !== "blend");
    if (!differs.hidden) differs.src = how;
    pair.style.setProperty("--gain", gain);
  }

  function say(left, right) {
    const about = side => `${side.label}${side.figures ? ` (${side.figures})` : ""}`, said = $("view-said");
    const title = models.find(model => model.key === scene.model).title;
    said.textContent = `${title}, “${scene.text}”: ${about(left)} beside ${about(right)}. `;
    const [width, height] = left.size;
    said.append(left.whole ? `${width} × ${height} pixels, all of them here` : `shown smaller than ${width} × ${height}`);
    said.append(left.exact ? ". " : ", compressed for this page. ");
    for (const side of new Set([left, right])) {
      const link = document.createElement("a");
      link.href = side.file, link.textContent = `${side.label} as PNG`;
      said.append(link, " ");
    }
  }

  for (const [name, key] of [["view-task", "task"], ["view-prompt", "prompt"], ["view-one", "one"], ["view-other", "other"]])
    $(name).addEventListener("change", event => { wanted[key] = event.target.value; chosen(); });
  $("view-model").addEventListener("change", chosen);
  $("view-size").addEventListener("change", show);
  button.addEventListener("pointerdown", () => hold(true));
  for (const end of ["pointerup", "pointerleave", "pointercancel", "blur"]) button.addEventListener(end, () => hold(false));
  button.addEventListener("keydown", event => { if (event.key === " " || event.key === "Enter") { event.preventDefault(); hold(true); } });
  button.addEventListener("keyup", () => hold(false));
  chosen();
}

function fill(select, entries, wanted) {
  const kept = wanted ?? select.value, known = new Map(entries);
  select.replaceChildren(...[...known].map(([value, text]) => new Option(text, value)));
  select.value = known.has(kept) ? kept : entries[0][0];
}

/* A click on a head sorts by it, the better end first; another turns it round; a third restores the first order. */
function sortable(table) {
  const body = table.tBodies[0], order = [...body.rows], heads = [...table.tHead.rows].at(-1).cells;
  [...heads].forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.disabled = false;
    const least = "less" in head.dataset || column < 2, turns = least ? ["ascending", "descending"] : ["descending", "ascending"];
    button.addEventListener("click", () => {
      const next = [...turns, "none"][turns.indexOf(head.getAttribute("aria-sort")) + 1];
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", next);
      table.classList.toggle("sorted", next !== "none");
      body.replaceChildren(...(next === "none" ? order : [...order].sort(by(column, next === "ascending" ? 1 : -1))));
    });
  });
}

/* Rows without a figure stand last either way. */
function by(column, sign) {
  const text = row => row.cells[column]?.innerText ?? "", value = row => parseFloat(row.cells[column]?.dataset.value);
  return (one, other) => {
    if (column < 2) return sign * text(one).localeCompare(text(other));
    const [a, b] = [value(one), value(other)];
    return isNaN(a) || isNaN(b) ? isNaN(a) - isNaN(b) : sign * (a - b);
  };
}
