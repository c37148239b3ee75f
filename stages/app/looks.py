"""How the page looks: Gradio's theme in the report's colours, with fonts that the reader has; nothing is fetched.

Consumes style.css and page.js beside it, and the report's sheet for two pictures; produces what Gradio takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SHEETS = (HERE.parent / "report" / "compare.css", HERE / "style.css")
SYSTEM = ("ui-sans-serif", "system-ui", "Segoe UI", "Roboto", "Helvetica Neue", "Noto Sans", "Arial", "sans-serif")
MONO = ("ui-monospace", "Consolas", "Liberation Mono", "monospace")
# Gradio's names: (light, dark).
COLOURS = {
    "body_background_fill": ("#faf9f7", "#14161a"),
    "background_fill_primary": ("#ffffff", "#1c1f25"),
    "background_fill_secondary": ("#f3f1ec", "#14161a"),
    "block_background_fill": ("#ffffff", "#1c1f25"),
    "input_background_fill": ("#faf9f7", "#14161a"),
    "body_text_color": ("#1c1f26", "#eceef2"),
    "body_text_color_subdued": ("#5a6272", "#a3acba"),
    "block_info_text_color": ("#5a6272", "#a3acba"),
    "block_label_text_color": ("#5a6272", "#a3acba"),
    "block_title_text_color": ("#5a6272", "#a3acba"),
    "border_color_primary": ("#dfddd7", "#343a44"),
    "button_primary_background_fill": ("#b03d15", "#f58a60"),
    "button_primary_background_fill_hover": ("#8f3010", "#ffa27d"),
    "button_primary_text_color": ("#ffffff", "#14161a"),
    "button_primary_text_color_hover": ("#ffffff", "#14161a"),
}


def theme() -> Any:
    import gradio as gr

    fonts = {"font": SYSTEM, "font_mono": MONO}
    # A bare name would be looked for among Gradio's files, and its own default is a font from there.
    known = {kind: [gr.themes.Font(name) for name in names] for kind, names in fonts.items()}
    colours = {name: light for name, (light, _) in COLOURS.items()}
    colours |= {f"{name}_dark": dark for name, (_, dark) in COLOURS.items()}
    return gr.themes.Base(primary_hue="orange", neutral_hue="stone", **known).set(**colours)


def head() -> str:
    """Our sheets and script. Gradio's own `css` would put every rule inside its container, where <html> is not."""
    sheets = "".join(path.read_text(encoding="utf-8") for path in SHEETS)
    return f"<style>{sheets}</style><script>{(HERE / 'page.js').read_text(encoding='utf-8')}</script>"
