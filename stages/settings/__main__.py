"""`python -m stages.settings`: compose params.yaml out of conf/, with overrides as `dvc exp run -S` takes them."""

from __future__ import annotations

import argparse

from stages.files import placing
from stages.settings import composing, config


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.settings", description="compose params.yaml out of conf/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="as in `dvc exp run -S key=value`")
    with config.main_guard():
        text = composing.compose(parser.parse_args(argv).overrides)
        if config.PARAMS.is_file() and config.PARAMS.read_text(encoding="utf-8") == text:
            print(f"{config.PARAMS} is up to date")
            return
        placing.write_text(config.PARAMS, text)
        print(f"{config.PARAMS} composed: {', '.join(config.read()['model'])}")


if __name__ == "__main__":
    main()
