"""The page: its fields, and what happens when they are used.

Consumes a studio, the root of the project and a folder for pictures; produces Gradio's `Blocks`. What a field may hold,
what is drawn and how it is shown is decided by the modules beside this one; here they are wired together.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from stages.app import drawing, easel, fields, prompts, reproducing
from stages.app.gallery import Session, Sessions
from stages.app.line import LONGEST, Line
from stages.studio import shelf
from stages.studio.request import Refused, Request
from stages.studio.studio import Drawn, Stopped

if TYPE_CHECKING:
    from stages.studio.separate import SeparateStudio

CLEAN_S = (600, 7200)  # how often uploads are looked at, and how old they get
THREADS = 3 * LONGEST  # who waits has one each, and who stops another
LABELS = {"two-stage": "two-stage: base and refiner"}
NEVER = "private"  # no event is an interface for programs: `python -m stages.generate` is
NAME = "PocketXL"


class Page:
    """The fields by name, the places where answers stand, and what answers."""

    def __init__(self, studio: SeparateStudio, root: Path, folder: Path) -> None:
        self.studio, self.root, self.sessions = studio, root, Sessions(folder)
        self.blocks = gr.Blocks(title=NAME, analytics_enabled=False, delete_cache=CLEAN_S)
        with self.blocks:
            self.header = gr.HTML(elem_id="head")
            with gr.Row(elem_id="desk"):
                self._lay_out()
            self._wire()
        self.line = Line()
        self.blocks.queue(api_open=False, max_size=THREADS)

    # What is on it

    def _lay_out(self) -> None:
        self.fields: dict[str, Any] = {}
        with gr.Column(elem_id="ask"):
            self._ask()
        with gr.Column(elem_id="result"):
            self.status = gr.HTML(elem_id="status")
            self.easel = gr.HTML(easel.empty(), elem_id="easel")
            self.gallery = gr.Gallery(
                label="Drawn in this tab: choose one to see it again", columns=6, fit_columns=False, height=None,
                object_fit="contain", allow_preview=False, interactive=False, buttons=[], visible=False,
                elem_id="gallery",
            )  # fmt: skip
            self.again = gr.Button("Take these settings", size="sm", visible=False, elem_id="again")
        with gr.Column(elem_id="settings"):
            self._settings()

    def _ask(self) -> None:
        put, at_hand = self.fields, shelf.find(self.root)
        # All there is; a tab that is opened gets what goes together. One left open over a restart has only these.
        precisions = list(dict.fromkeys(name for one in at_hand.values() for name in one))
        put["task"] = gr.Radio(_tasks(at_hand), label="Task", elem_id="task")
        with gr.Row():
            put["model"] = _list(list(at_hand), "Model", "model")
            put["precision"] = _list(precisions, "Precision", "precision")
            put["other"] = _list([fields.NOTHING, *precisions], "Compare with", "other")
        put["prompt"] = gr.Textbox(label="Prompt", lines=3, max_lines=8, elem_id="prompt")
        put["start"] = gr.File(
            label="Picture to start from: PNG, JPEG or WebP", height=150, elem_id="start", visible=False
        )
        self.started = gr.HTML(elem_id="started")
        with gr.Row():
            self.draw = gr.Button("Draw", variant="primary", min_width=120, elem_id="draw")
            self.stop = gr.Button("Stop", min_width=120, elem_id="stop")

    def _settings(self) -> None:
        put = self.fields
        self.examples = gr.Dataset(
            components=[gr.Textbox(visible=False)], samples=[["-"]], type="values", label="Prompts to begin with",
            elem_id="examples", layout="gallery",
        )  # fmt: skip
        put["negative_prompt"] = gr.Textbox(
            label="Negative prompt", info="Has no effect at a guidance of 1 or less", lines=1, elem_id="negative_prompt"
        )
        with gr.Row():
            put["steps"] = _number("Steps", "steps")
            put["guidance"] = _number("Guidance", "guidance")
        with gr.Row():
            put["width"] = _number("Width", "width")
            put["height"] = _number("Height", "height")
        put["strength"] = _number("Strength: how much of the picture is drawn anew, to 1", "strength", visible=False)
        put["high_noise_fraction"] = _number("The base's share of the steps", "high_noise_fraction", visible=False)
        put["scheduler"] = _list(fields.schedulers(), "Scheduler", "scheduler")
        with gr.Row():
            put["seed"] = gr.Textbox(label="Seed", value="0", elem_id="seed")
            put["new_seed"] = gr.Checkbox(label="A new seed each time", value=True, elem_id="new_seed")
        self.dropped = gr.File(label="Drop a PNG drawn here: its settings are read back", height=150, elem_id="dropped")
        self.read = gr.HTML(elem_id="read")

    # What it does

    def _wire(self) -> None:
        form = [self.fields[name] for name in fields.NAMES]
        quick = {"queue": False, "show_progress": "hidden", "api_visibility": NEVER}
        choices = [self.examples, *form]
        self.blocks.load(self.opened, None, [self.header, self.status, *choices], **quick)
        self.blocks.unload(self.closed)
        for name in ("task", "model"):
            self.fields[name].input(self.chosen, [self.fields["task"], self.fields["model"]], choices, **quick)
        of = [self.fields["model"], self.fields["precision"]]
        self.fields["precision"].input(self.with_others, of, self.fields["other"], **quick)
        self.fields["start"].change(self.looked_at, self.fields["start"], self.started, **quick)
        self.examples.click(lambda sample: sample[0], self.examples, self.fields["prompt"], **quick)
        shown = [self.status, self.easel, self.gallery, self.again, self.fields["seed"]]
        gr.on(
            [self.draw.click, self.fields["prompt"].submit], self.drawn, form, shown, validator=self.checked,
            concurrency_limit=None, trigger_mode="once", show_progress="hidden",
            api_visibility=NEVER,
        )  # fmt: skip
        self.stop.click(
            self.stopped, None, self.status, concurrency_limit=None, show_progress="hidden", api_visibility=NEVER
        )
        self.gallery.select(self.seen, None, self.easel, **quick)
        self.again.click(self.taken, None, [self.read, *choices], **quick)
        self.dropped.upload(self.given_back, self.dropped, [self.read, *choices], **quick)

    def opened(self, request: gr.Request) -> list[Any]:
        """Everything as it is when the page is opened, by a link perhaps."""
        at_hand = shelf.find(self.root)
        if not at_hand:
            said = f"There is no IR at hand yet: {shelf.MAKE}. Then load this page anew."
            return [_head(), _said(said), gr.skip(), *self._form({"new_seed": True})]
        try:
            values, said = reproducing.from_link(at_hand, dict(request.query_params))
        except ValueError as error:
            values, said = {}, [f"The link cannot be read: {error}"]
        return [_head(), _said(*said), *self._filled(at_hand, values)]

    def closed(self, request: gr.Request) -> None:
        self.sessions.end(request.session_hash)

    def chosen(self, task: str, model: str) -> list[Any]:
        """The model's own values, once task or model were chosen."""
        return self._filled(shelf.find(self.root), {"task": task, "model": model})

    def with_others(self, model: str, precision: str) -> Any:
        return gr.Dropdown(fields.others(shelf.find(self.root), model, precision), value=fields.NOTHING)

    def looked_at(self, path: str | None) -> str:
        """Of an uploaded picture: what is wrong with it, or how large it is."""
        from stages.studio import uploads

        if not path:
            return ""
        try:
            width, height = uploads.read(path).size
        except Refused as error:
            return _alert(str(error))
        return _said(f"{width} × {height} pixels, scaled and cut to the size below")

    def checked(self, *values: Any) -> list[Any]:
        """Gradio's answer for each field: whether it may be drawn so, and if not why."""
        given = dict(zip(fields.NAMES, values, strict=True))
        found = fields.refused(shelf.find(self.root), given)
        found = {name if name in fields.NAMES else "prompt": said for name, said in found.items()}
        return [gr.validate(name not in found, found.get(name, "")) for name in fields.NAMES]

    def drawn(self, request: gr.Request, *values: Any) -> Iterator[list[Any]]:
        """What is on its way, then what is finished."""
        session = self.sessions.of(request.session_hash)
        given = fields.with_seed(dict(zip(fields.NAMES, values, strict=True)))
        session.stop.clear()
        session.ended.clear()
        began, session.began = session.began, None
        session.drawing = True
        try:
            asked = fields.asked(shelf.find(self.root), given)
            with self.line.place(session.stop) as place:
                yield from self._wait(place)
                yield from self._follow(session, asked, given["seed"], began)
        except Stopped:
            session.word = _said("Stopped.")
            yield [session.word, _on_easel(session), gr.skip(), gr.skip(), gr.skip()]
        except (ValueError, FileNotFoundError) as error:  # what only drawing finds out
            session.word = _alert(str(error))
            yield [session.word, _on_easel(session), gr.skip(), gr.skip(), gr.skip()]
        finally:
            session.drawing = False
            session.ended.set()

    def _wait(self, place: Iterator[int]) -> Iterator[list[Any]]:
        """For those before."""
        rest = [gr.skip()] * 4
        for before in place:
            yield [_said(f"Waiting: {before} {'picture' if before == 1 else 'pictures'} before yours"), *rest]

    def _follow(self, session: Session, asked: list[Request], seed: str, began: str | None) -> Iterator[list[Any]]:
        shown, rest = [], [gr.skip(), gr.skip()]
        for number, news in drawing.drawn(self.studio, asked, session.stop):
            if isinstance(news, Drawn):
                shown.append(session.keep(reproducing.compared(news, began)))
                continue
            place = f"{asked[number].precision}, {number + 1} of {len(asked)}: " if len(asked) > 1 else ""
            yield [_said("Drawing"), easel.going(asked[number], news, place), *rest, seed]
        session.shown = shown
        whole = sum(kept.seconds["whole"] for kept in shown)
        rest = [_pictures(session), gr.Button(visible=True), seed]
        session.word = _said(f"Done in {whole:.1f} s")
        yield [session.word, easel.finished(shown), *rest]

    def stopped(self, request: gr.Request) -> Iterator[Any]:
        """Ends with what the drawing ends with: its answer may come before or after this one's first."""
        session = self.sessions.of(request.session_hash)
        session.stop.set()
        if not session.drawing:
            yield gr.skip()
            return
        yield _said("Stopping")
        session.ended.wait()
        yield session.word

    def seen(self, chosen: gr.SelectData, request: gr.Request) -> str:
        session = self.sessions.of(request.session_hash)
        session.shown = session.kept[chosen.index : chosen.index + 1]
        return easel.finished(session.shown)

    def taken(self, request: gr.Request) -> list[Any]:
        """The settings of the picture on the easel."""
        shown = self.sessions.of(request.session_hash).shown
        return self.given_back(str(shown[0].path), request) if shown else [gr.skip()] * (len(fields.NAMES) + 2)

    def given_back(self, path: str, request: gr.Request) -> list[Any]:
        at_hand = shelf.find(self.root)
        try:
            values, said = reproducing.from_png(at_hand, path)
            self.sessions.of(request.session_hash).began = reproducing.start_of(path)
        except Refused as error:
            return [_alert(str(error)), *[gr.skip()] * (len(fields.NAMES) + 1)]
        return [_said(*(said or ["All settings are as they were: draw."])), *self._filled(at_hand, values)]

    def _filled(self, at_hand: shelf.Shelf, values: fields.Values) -> list[Any]:
        """Examples, then every field: with these values, and the model's own for the others."""
        tasks = fields.tasks(at_hand)
        task = values.get("task") if values.get("task") in tasks else tasks[0]
        own = fields.filled(at_hand, task, values.get("model"), values.get("precision"))
        able = {name: own[name] for name in ("task", "model", "precision")}  # another model where that one cannot
        return [
            _examples(prompts.examples(own["model"], self.root)),
            *self._form(own | values | able, at_hand),
        ]

    def _form(self, values: fields.Values, at_hand: shelf.Shelf | None = None) -> list[Any]:
        """An update of every field; those without a value keep theirs."""
        choices: dict[str, list[Any]] = {}
        if at_hand:
            model = values["model"]
            choices = {
                "task": _tasks(at_hand),
                "model": fields.models(at_hand, values["task"]),
                "precision": list(at_hand[model]),
                "other": fields.others(at_hand, model, values["precision"]),
            }
        updates = []
        for name in fields.NAMES:
            how = {"value": values[name]} if name in values else {}
            how |= {"choices": choices[name]} if name in choices else {}
            how |= {"visible": fields.has(name, values.get("task", ""))} if name in fields.HAVE else {}
            updates.append(gr.update(**how))
        return updates


def _number(label: str, name: str, **how: Any) -> Any:
    return gr.Number(label=label, elem_id=name, min_width=80, **how)


def _list(choices: list[str], label: str, name: str) -> Any:
    return gr.Dropdown(choices, value=None, label=label, filterable=False, elem_id=name)


def _tasks(at_hand: shelf.Shelf) -> list[tuple[str, str]]:
    return [(LABELS.get(task, task), task) for task in fields.tasks(at_hand)]


def _examples(texts: list[str]) -> Any:
    return gr.Dataset(samples=[[text] for text in texts])


def _on_easel(session: Session) -> str:
    """What stood there before."""
    return easel.finished(session.shown) if session.shown else easel.empty()


def _pictures(session: Session) -> Any:
    return gr.Gallery([(str(kept.path), kept.name) for kept in session.kept], visible=True)


def _head() -> str:
    return f"<h1>{NAME}</h1><p>Draw with the models that were made here. Nothing leaves this machine.</p>"


def _said(*sentences: str) -> str:
    return "".join(f"<p>{_escaped(sentence)}</p>" for sentence in sentences)


def _alert(sentence: str) -> str:
    return f'<p role="alert" class="alert">{_escaped(sentence)}</p>'


def _escaped(text: str) -> str:
    import html

    return html.escape(text)
