"""Keep fitted models in files that know what they are.

A file holds a header (kind, format, versions, feature signature, training window, backtest
figures) beside the models, and is refused with a precise error when it does not fit the program
that reads it. It is written to the side and renamed, so that no reader meets half of one.

Model files are joblib pickles: reading one runs code from it. Read only files that this program
wrote, from a folder that nobody else may write to.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import joblib
import sklearn

from forecast.features import SIGNATURE
from forecast.quantile import QuantileModel
from solver.domain.errors import ModelMismatchError

KIND: Final = "foreswap-quantile-model"
FORMAT: Final = 1
MAGIC: Final = b"foreswap-model\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model and what is known of it.

    Parameters
    ----------
    backtest
        Figures of the model's own backtest, plain JSON values.
    """

    model: QuantileModel
    trained_from: datetime
    trained_until: datetime
    backtest: Mapping[str, Any] = field(default_factory=dict)


def save_model(
    model: QuantileModel, path: Path | str, *, backtest: Mapping[str, Any] | None = None
) -> None:
    """Write a fitted model, whole or not at all.

    Raises
    ------
    ModelMismatchError
        If the model was not fitted.
    """
    if model.trained_from_ is None or model.trained_until_ is None:
        raise ModelMismatchError("the model is not fitted; expected one that is")
    path = Path(path)
    content = {
        "kind": KIND,
        "format": FORMAT,
        "signature": model.feature_signature_,
        "sklearn": sklearn.__version__,
        "trained_from": model.trained_from_,
        "trained_until": model.trained_until_,
        "backtest": dict(backtest or {}),
        "model": model,
    }
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(MAGIC)
            joblib.dump(content, file, compress=3)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load_model(path: Path | str) -> ModelFile:
    """Read a model file; see the module's warning about trust.

    Raises
    ------
    ModelMismatchError
        If there is no such file, it is of another kind, damaged, of another format, made with
        other features or by another scikit-learn.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ModelMismatchError(f"{path}: not a foreswap model file")
            content = joblib.load(file)
    except FileNotFoundError as error:
        raise ModelMismatchError(f"{path}: no such model file") from error
    except ModelMismatchError:
        raise
    # Unpickling a damaged or foreign file can raise anything at all.
    except Exception as error:
        raise ModelMismatchError(f"{path}: damaged model file: {error}") from error
    expected = {
        "kind": KIND,
        "format": FORMAT,
        "signature": SIGNATURE,
        "sklearn": sklearn.__version__,
    }
    for name, value in expected.items():
        seen = content.get(name) if isinstance(content, dict) else None
        if seen != value:
            raise ModelMismatchError(
                f"{path}: {name} is {seen!r}, expected {value!r}; train the model again"
            )
    return ModelFile(
        model=content["model"],
        trained_from=content["trained_from"],
        trained_until=content["trained_until"],
        backtest=content["backtest"],
    )
