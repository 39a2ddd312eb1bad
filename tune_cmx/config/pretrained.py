"""Where the pretrained weights of the streams come from."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from tune_cmx.config.section import Section


class WeightsFile(Section):
    """A file of pretrained weights; in a search space its path is enough. Its content is part of the protocol, its
    path is not."""

    path: str
    """Path of the file; a relative path starts in the folder where the command runs."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """SHA-256 hash of the content, 64 hexadecimal digits. Default: computed from the file."""

    @model_validator(mode="before")
    @classmethod
    def _with_hash(cls, given: Any) -> Any:
        content = {"path": given} if isinstance(given, str) else given
        if not isinstance(content, Mapping) or not isinstance(content.get("path"), str):
            return content
        path = Path(content["path"]).expanduser().absolute()
        if content.get("sha256") is None:
            if not path.is_file():
                raise ValueError(f"{path}: no such file of weights; download it first, or correct the path")
            stat = path.stat()
            content = {**content, "sha256": _sha256(path, stat.st_size, stat.st_mtime_ns)}
        return {**content, "path": str(path)}


@cache
def _sha256(path: Path, size: int, changed_ns: int) -> str:  # noqa: ARG001  # another content has another key
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class PretrainedConfig(Section):
    """Pretrained weights: `timm`, or a path for every stream, or paths for `rgb` and `aux`. A stream without a path
    starts from random weights."""

    timm: bool = False
    """Use timm's published weights for its backbone; they need the network or the cache of an earlier run."""
    every: WeightsFile | None = None
    """File for every stream; `pretrained: PATH` sets it."""
    rgb: WeightsFile | None = None
    """File for the RGB stream."""
    aux: WeightsFile | None = None
    """File for the auxiliary stream."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"timm": True} if given == "timm" else {"every": given}
        return given

    @model_validator(mode="after")
    def _one_form(self) -> "PretrainedConfig":
        forms = [self.timm, self.every is not None, self.rgb is not None or self.aux is not None]
        if sum(forms) != 1:
            raise ValueError("give either a path, or paths for rgb and aux, or timm")
        return self

    def file(self, stream: str) -> WeightsFile | None:
        """The file for `rgb`, `aux` or `single`, if there is one."""
        return self.every or {"rgb": self.rgb, "aux": self.aux}.get(stream)

    def placeless(self) -> "PretrainedConfig":
        """Without the places of the files, which may move; their hashes may not."""
        files = {name: getattr(self, name) for name in ("every", "rgb", "aux")}
        moved = {name: file.model_copy(update={"path": ""}) for name, file in files.items() if file is not None}
        return self.model_copy(update=moved)
