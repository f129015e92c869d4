"""What all sections of a training's configuration have in common. pydantic only, so that it loads at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

# A run may be started from another folder than the one its configuration was written in.
AbsolutePath = Annotated[Path, AfterValidator(lambda path: path.expanduser().resolve())]


class Section(BaseModel):
    """Keys that are not known are mistakes; what is read does not change. Each field has a description."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
