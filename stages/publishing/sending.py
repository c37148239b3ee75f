"""Files sent to a Hub repository in one commit, with one progress bar; what the Hub has already is not sent.

Consumes a folder and names; produces a commit. Large files go first, each whole before the commit is made, so that a
connection that is cut costs at most the files under way: over HTTP those are sent again, with Xet (hf_xet, which
HF_HUB_DISABLE_XET=1 turns off) the pieces that lack. Decides nothing.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stages.publishing import shown

BIG = 10_000_000  # bytes; smaller files are sent several at once


class Watched(io.BufferedReader):
    """A file that moves the bar as it is read for sending, by what was not read before: a second try does not count."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.bar, self.farthest = None, 0

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        if self.bar is not None and self.tell() > self.farthest:
            self.bar.update(self.tell() - self.farthest)
            self.farthest = self.tell()
        return content


def send(api: Any, repository: str, folder: Path, gone: list[str], parent: str, message: str) -> Any:
    """A commit of all files of the folder on top of `parent`; `gone` are deleted in it."""
    from huggingface_hub import CommitOperationDelete

    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    sizes = {name: (folder / name).stat().st_size for name in names}
    with quiet(), shown.bar(sum(sizes.values())) as bar, ExitStack() as opened:
        additions = {name: _addition(folder / name, name, opened) for name in names}
        for batch in _batches(sizes):
            _send_large(api, repository, [additions[name] for name in batch], sum(sizes[name] for name in batch), bar)
        operations = [*additions.values(), *map(CommitOperationDelete, gone)]
        return api.create_commit(repository, operations, commit_message=message, parent_commit=parent)


def _send_large(api: Any, repository: str, additions: list[Any], size: int, bar: Any) -> None:
    """What the Hub keeps apart from git; smaller files travel in the commit itself."""
    files, before = [one.path_or_fileobj for one in additions if isinstance(one.path_or_fileobj, Watched)], bar.n
    for file in files:
        file.bar = bar
    api.preupload_lfs_files(repository, additions, free_memory=False)
    for file in files:
        file.bar = None
    bar.update(max(0, before + size - bar.n))  # what was there, what goes by Xet, and what waits for the commit


def _batches(sizes: dict[str, int]) -> list[list[str]]:
    """Each large file by itself, largest first; all others together."""
    big = sorted((name for name in sizes if sizes[name] >= BIG), key=lambda name: -sizes[name])
    return [*([name] for name in big), [name for name in sizes if sizes[name] < BIG]]


def _addition(path: Path, name: str, opened: ExitStack) -> Any:
    from huggingface_hub import CommitOperationAdd, constants

    if find_spec("hf_xet") and not constants.HF_HUB_DISABLE_XET:  # Xet reads files itself, and tells no progress
        return CommitOperationAdd(name, path)
    return CommitOperationAdd(name, opened.enter_context(Watched(path)))


@contextmanager
def quiet() -> Iterator[None]:
    """huggingface_hub without bars and notices of its own; errors still come through."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars, logging

    level, shown = logging.get_verbosity(), not are_progress_bars_disabled()
    logging.set_verbosity_error()
    disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            enable_progress_bars()
