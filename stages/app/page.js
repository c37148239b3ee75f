/* The line between two pictures follows its range input, as in the report; pictures come and go, so all listen once. */
document.documentElement.classList.add("scripted");
document.addEventListener("input", event => {
  const pair = event.target.closest?.(".pair");
  if (pair && event.target.type === "range") pair.style.setProperty("--at", event.target.value + "%");
});

/* While the button is held the browser subtracts the two, which are PNGs: nothing of it is compression's. */
function hold(button, on) {
  button.setAttribute("aria-pressed", String(on));
  button.closest("div").querySelector(".pair").classList.toggle("blended", on);
}
const held = event => event.target.closest?.("button.hold");
document.addEventListener("pointerdown", event => { if (held(event)) hold(held(event), true); });
for (const end of ["pointerup", "pointerout", "pointercancel", "focusout", "keyup"])
  document.addEventListener(end, event => { if (held(event)) hold(held(event), false); });
document.addEventListener("keydown", event => {
  if (held(event) && (event.key === " " || event.key === "Enter")) { event.preventDefault(); hold(held(event), true); }
});

/* Gradio colours what it says at a field; it is to be heard as well. */
new MutationObserver(changes => {
  for (const change of changes)
    for (const node of change.addedNodes)
      if (node.nodeType === 1)
        for (const said of [node, ...node.querySelectorAll(".validation-error")])
          if (said.matches(".validation-error")) said.setAttribute("role", "alert");
}).observe(document.documentElement, {childList: true, subtree: true});
document.addEventListener("DOMContentLoaded", () => setTimeout(function live() {
  const status = document.getElementById("status");
  if (status) status.setAttribute("aria-live", "polite"); else setTimeout(live, 200);
}));
