"""What an error means, in one line: what happened, to which file, and what to run next.

Consumes an exception; produces the line and the exit status. A refusal of ours says it all by itself and is handed on.
Errors of the system, the network and the libraries are told apart by their kind wherever they were raised, so that no
stage needs a `try` for them. What is left is a fault of this program, and is called so. Prints nothing.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

TRACEBACK = "POCKETXL_TRACEBACK"  # set to anything: the traceback is shown too
SHOWS = f"({TRACEBACK}=1 shows where)"
REFUSED, FAULT = 2, 70  # exit statuses: something that can be mended here; a mistake in this program
ROOT = Path(__file__).parents[2]
NETWORK_PACKAGES = {"aiohttp", "h11", "httpcore", "httpx", "requests", "urllib3"}
NETWORK = {
    errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH,
    errno.ETIMEDOUT,
}  # fmt: skip
DISK = {
    errno.ENOSPC: ("no space is left on the disk", "make room"),
    errno.EDQUOT: ("your share of the disk is used up", "make room"),
    errno.EFBIG: ("a file would be larger than allowed here", "raise `ulimit -f`, or write to another file system"),
    errno.EROFS: ("it cannot be written to: the disk is read-only", "mount it for writing, or work elsewhere"),
    errno.EACCES: ("you have no right to it", "give yourself the right (`ls -ld` shows who has it)"),
    errno.EPERM: ("the system forbids it", "see who owns it, and whether `lsattr` calls it immutable"),
    errno.ENAMETOOLONG: ("the name is longer than the file system takes", "choose a shorter one"),
    errno.EMFILE: ("too many files are open in this process", "raise `ulimit -n`"),
    errno.ENFILE: ("too many files are open on this machine", "close other programs"),
    errno.EIO: ("the disk cannot be read or written", "have it checked (`dmesg` says more)"),
    errno.ESTALE: ("the network disk is gone", "mount it again"),
}
MEMORY = re.compile(
    r"alloc|failed to map segment|could not create a memory object|out of memory|not enough memory|"
    r"can't start new thread|resource temporarily unavailable",
    re.IGNORECASE,
)
MISTAKES = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NameError, NotImplementedError, RecursionError,
    TypeError,
)  # fmt: skip
NUMBER = re.compile(r"\(os error (\d+)\)")  # as libraries written in Rust tell the system's errors
SHORT_WRITE = re.compile(r"\d+ requested and \d+ written|iostream error")  # as numpy and OpenVINO tell a full disk


def told(error: BaseException) -> tuple[str, int]:
    """The line and the exit status; a refusal for lack of memory, or of a right, is that lack and no damage."""
    line = _of_memory(error) or _of_disk(error)
    if line is None and is_refusal(error):
        return "; ".join([str(error), *_asides(error)]), REFUSED
    line = line or _of_network(error) or _of_letters(error) or _of_library(error)
    if line is not None:
        return f"{_prefix()}{line} {SHOWS}", REFUSED
    return "; ".join([f"{_prefix()}{_of_ours(error)}", *_asides(error)]), FAULT


def again() -> str:
    """The command that goes on: DVC's where DVC has started this one."""
    if stage := os.environ.get("DVC_STAGE"):
        return f"dvc repro {stage}"
    if _module() == "stages.repro" and len(sys.argv) == 1:
        return "make repro"
    return shlex.join(["python", "-m", _module(), *sys.argv[1:]]) if _module() else "the command"


def lacks_memory(error: BaseException) -> bool:
    """Whether it, or what it arose from, says that memory or threads could not be had."""
    return _short_of_memory(error) is not None


def _short_of_memory(error: BaseException) -> BaseException | None:
    """The first of the chain that says so. A refusal may arise from a lock that another run holds: EAGAIN as well."""
    refused = is_refusal(error)
    for one in _chain(error):
        worded = isinstance(one, RuntimeError | ImportError | OSError) and MEMORY.search(str(one)) is not None
        short = worded or isinstance(one, MemoryError) or getattr(one, "errno", None) in (errno.ENOMEM, errno.EAGAIN)
        if short and not (refused and isinstance(one, BlockingIOError)):
            return one
    return None


def of_disk(error: BaseException) -> bool:
    """Whether it, or what it arose from, is the disk's or a file's: full, read-only, forbidden, a name too long."""
    return any(_number(one) in DISK for one in _chain(error))


def of_network(error: BaseException) -> bool:
    """Whether it, or what it arose from, is a connection that failed."""
    return any(
        (isinstance(one, ConnectionError | TimeoutError) and not isinstance(one, BrokenPipeError))
        or getattr(one, "errno", None) in NETWORK
        or type(one).__module__.split(".")[0] in {*NETWORK_PACKAGES, "socket"}
        or _package(one) in NETWORK_PACKAGES
        for one in _chain(error)
    )


def first_line(error: BaseException) -> str:
    """What an error says, without where in OpenVINO it was said; its kind where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("Exception from ")), type(error).__name__)


def _of_memory(error: BaseException) -> str | None:
    first = _short_of_memory(error)
    if first is None:
        return None
    allowed = "; ".join(limits())
    way = f"raise the limit ({allowed})" if allowed else "close other programs"
    figures = "".join(f"; {note}" for note in _asides(error))
    return (
        f"memory or threads ran out ({first_line(first)}){figures}: {way}, or take smaller settings (`make plan` shows "
        f"what fits), then run '{again()}' again"
    )


def _of_disk(error: BaseException) -> str | None:
    for one in _chain(error):
        number = _number(one)
        if number in DISK:
            what, way = DISK[number]
            name = getattr(one, "filename2", None) or getattr(one, "filename", None)
            where = "".join([f"{os.fsdecode(name)}: " if name else "", *(f"{note}: " for note in _asides(error))])
            return f"{where}{what}: {way}, then run '{again()}' again"
    return None


def _of_network(error: BaseException) -> str | None:
    if not of_network(error):
        return None
    return f"the network failed ({first_line(error)}): run '{again()}' again, what was fetched whole is kept"


def _of_letters(error: BaseException) -> str | None:
    if isinstance(error, UnicodeEncodeError) and error.encoding in ("ascii", "latin-1", "iso8859-1"):
        return f"{error.object!r} cannot be written here: set LC_ALL=C.UTF-8 (or PYTHONUTF8=1) and run it again"
    if isinstance(error, UnicodeDecodeError):
        return f"a file holds other bytes than UTF-8's ({error})"
    return None


def _of_library(error: BaseException) -> str | None:
    """Of other people's code, and of the system in so far as nothing better is known."""
    if isinstance(error, ImportError):
        return f"{first_line(error)}: the installation is not whole, run 'make install'"
    if isinstance(error, OSError):
        return f"{first_line(error)}: mend that, then run '{again()}' again"
    if str(error).startswith(("Exception from ", "Check '")) or _package(error) == "openvino":
        return f"OpenVINO failed: {first_line(error)}; {_in_doubt()}run '{again()}' again"
    if isinstance(error, ValueError):
        return "; ".join(
            [f"{first_line(error)} (says {_package(error) or 'Python'}, at {_place(error)})", *_asides(error)]
        )
    if _is_ours(error):
        return None
    what = f"{_package(error) or 'a library'} failed: {type(error).__name__}: {first_line(error)}"
    return f"{what}; {''.join(f'{note}; ' for note in _asides(error))}{_in_doubt()}run '{again()}' again"


def _is_ours(error: BaseException) -> bool:
    """Raised by code of ours, or a mistake; short of memory, libraries make mistakes too."""
    if _package(error) is not None:
        return isinstance(error, MISTAKES) and not limits()
    return isinstance(error, MISTAKES) or _is_on_purpose(error)


def _in_doubt() -> str:
    """Libraries that meet a limit of memory say the oddest things."""
    return f"raise the limit of memory ({'; '.join(allowed)}) and " if (allowed := limits()) else ""


def _of_ours(error: BaseException) -> str:
    said = f"{type(error).__name__}: {first_line(error)}" if str(error).strip() else type(error).__name__
    doubt = f", unless memory was short ({'; '.join(allowed)})" if (allowed := limits()) else ""
    return (
        f"{said}, at {_place(error)}: a fault of PocketXL{doubt}, please report it; {TRACEBACK}=1 shows the way there"
    )


def is_refusal(error: BaseException) -> bool:
    """Raised on purpose by code of ours, with all that there is to say."""
    if isinstance(error, UnicodeError) or (isinstance(error, OSError) and error.errno is not None):
        return False
    return isinstance(error, ValueError | FileNotFoundError) and _package(error) is None and _is_on_purpose(error)


def _is_on_purpose(error: BaseException) -> bool:
    """Whether the last line on the way is a `raise`; what is written in C leaves no line of its own."""
    frames = traceback.extract_tb(error.__traceback__)
    return not frames or (frames[-1].line or "raise").startswith("raise")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it arose from."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _number(error: BaseException) -> int | None:
    """The system's number of an error, also where a library has put it into words."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if found := NUMBER.search(str(error)):
        return int(found[1])
    text = str(error)
    return errno.ENOSPC if SHORT_WRITE.search(text) or os.strerror(errno.ENOSPC) in text else None


def _asides(error: BaseException) -> list[str]:
    """Notes of one line that stand with the error, as stages.machine.usage leaves them; not tracebacks."""
    return [note for note in getattr(error, "__notes__", []) if "\n" not in note]


def limits() -> list[str]:
    """What the shell allows of memory and processes, where it does not allow all."""
    import resource

    names = {"ulimit -v": resource.RLIMIT_AS, "ulimit -d": resource.RLIMIT_DATA}
    soft = {name: resource.getrlimit(limit)[0] for name, limit in names.items()}
    return [f"{name} is {found / 1e9:.1f} GB" for name, found in soft.items() if found != resource.RLIM_INFINITY]


def _package(error: BaseException) -> str | None:
    """The installed package that raised it, or defines it; None of our own code."""
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    raised_in = _installed(frames[-1]) if frames else None
    own = type(error).__module__.split(".")[0]
    return raised_in or (own if own not in ("builtins", "stages", "json", "__main__", "tests", "proofs") else None)


def _installed(file: str) -> str | None:
    """`torch` of .../site-packages/torch/nn/modules/linear.py, `json` of Python's own .../json/decoder.py."""
    parts = Path(file).parts
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1].removesuffix(".py")
    stdlib = Path(os.__file__).parent
    return Path(file).relative_to(stdlib).parts[0].removesuffix(".py") if Path(file).is_relative_to(stdlib) else None


def _place(error: BaseException) -> str:
    """`stages/export.py:63`, the last line of ours on the way; of a process apart, as its note says."""
    notes = [line for note in getattr(error, "__notes__", []) for line in re.findall(r'File "(.+?)", line (\d+)', note)]
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    own = [(file, line) for file, line in [*frames, *notes] if Path(file).is_relative_to(ROOT) and not _installed(file)]
    file, line = (own or frames or [("?", 0)])[-1]
    return f"{Path(file).relative_to(ROOT) if own else file}:{line}"


def _module() -> str:
    """`stages.export` of `python -m stages.export`; "" of a script."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return (spec.name if spec else "").removesuffix(".__main__")


def _prefix() -> str:
    """`export mini-vega: `, of a command that works on a model; nothing where another program has this process."""
    if not _module().startswith("stages."):
        return ""
    model = [word for word in sys.argv[1:2] if "=" not in word and not word.startswith("-")]
    return f"{' '.join([_module().removeprefix('stages.'), *model])}: "
