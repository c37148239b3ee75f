/* The line between two pictures follows its range input, as in the report; pictures come and go, so all listen once. */
document.documentElement.classList.add("scripted");
document.addEventListener("input", event => {
  const pair = event.target.closest?.(".pair");
  if (pair && event.target.type === "range") pair.style.setProperty("--at", event.target.value + "%");
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
