"""params.yaml composed out of conf/ by Hydra, as DVC does on `dvc exp run`.

Consumes conf/ and overrides of Hydra's grammar; produces the text of params.yaml, or settings without it. What was
composed is checked before anything is written.
"""

from __future__ import annotations

import typing
from pathlib import Path

from stages.settings import checks, config, resolving
from stages.settings.schema import Settings

CONF = Path("conf")


def compose(overrides: list[str] | tuple[str, ...] = (), conf: Path = CONF) -> str:
    """The text of params.yaml: conf/ composed by Hydra and checked; the very bytes that DVC would write."""
    import hydra
    import hydra.errors
    from omegaconf import OmegaConf

    resolving.register()
    try:
        with hydra.initialize_config_dir(str(conf.resolve()), version_base="1.3"):
            composed = hydra.compose("config", overrides=list(overrides))
    except hydra.errors.HydraException as error:
        raise ValueError(f"conf/ does not compose with {' '.join(overrides) or 'no overrides'}: {error}") from error
    OmegaConf.resolve(composed)
    checks.check(typing.cast(dict, OmegaConf.to_container(composed)))
    return OmegaConf.to_yaml(composed)


def composed(reads: tuple[str, ...], overrides: list[str], conf: Path = CONF) -> Settings:
    """Settings as conf/ and these overrides make them, without a params.yaml."""
    import yaml

    return config.select(yaml.safe_load(compose(overrides, conf)), list(reads), None)
