"""A folder that DVC tracks, pushed to a remote with one progress bar; what the remote has is not pushed again.

Consumes a path and the name of a remote, the default one without; produces objects on it, the folder's own last.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.publishing import shown

NAME_ONE = "dvc remote add -d store /mnt/somewhere (or s3://..., ssh://...)"


def reasons(remote: str | None) -> list[str]:
    """What stands in the way of pushing."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            known = sorted(repo.config["remote"])
            chosen = remote or repo.config["core"].get("remote")
    except DvcException as error:
        return [f"this is no repository of DVC's: {error}"]
    if chosen is None:
        return [f"DVC has no default remote: {NAME_ONE}" + (f"; or --remote {known[0]}" if known else "")]
    return [] if chosen in known else [f"DVC knows no remote {chosen!r}, but {', '.join(known) or 'none'}: {NAME_ONE}"]


def remote_name(remote: str | None) -> str | None:
    """The one that was asked for, or the default one."""
    from dvc.config import Config
    from dvc.repo import Repo

    return remote or Config(Repo.find_dvc_dir())["core"].get("remote")


def push(target: Path, remote: str | None) -> None:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    again = "run the same command again: what has arrived is not pushed twice"
    try:
        with quiet(), Repo() as repo:
            where = repo.cloud.get_remote(remote)
            if where.fs.version_aware or where.worktree:  # these are pushed as a whole
                repo.push([f"{target}.dvc"], remote=remote)
                return
            (out,) = repo.find_outs_by_path(str(target.absolute()))
            objects = [(found, target.joinpath(*key).stat().st_size) for key, _, found in out.get_obj()]
            with shown.bar(sum(size for _, size in objects)) as bar:
                for found, size in [*objects, (out.hash_info, 0)]:
                    if repo.cloud.push([found], remote=remote).failed:
                        raise ValueError(f"{target} was not pushed to the remote {where.name}: {again}")
                    bar.update(size)
    except (DvcException, OSError) as error:
        said = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"{target} was not pushed to the remote {remote_name(remote)}: {said}; {again}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """DVC without bars and notices of its own: its bars ask the loggers of its packages."""
    loggers = [logging.getLogger(name) for name in ("dvc", "dvc_data", "dvc_objects")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
