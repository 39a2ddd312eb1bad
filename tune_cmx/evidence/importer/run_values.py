"""What one imported run may say: every field with its type and range, for tables and `final_results.json` alike."""

import datetime
import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tune_cmx.config.model_sections import MODALITIES
from tune_cmx.evidence.importer.vocabulary import fusion_text, modalities_text, read_stages
from tune_cmx.metrics import METRICS, Metric

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DATE = re.compile(rf"\d{{1,4}}[-/. ]({_MONTHS})[a-z]*|({_MONTHS})[a-z]*[-/. ]\d{{1,4}}|\d{{4}}-\d\d-\d\d.*")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("needs a number")
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        raise ValueError("needs a number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _whole(value: Any) -> int:
    number = _number(value)
    if number != math.floor(number):
        raise ValueError("not whole")
    return int(value) if str(value).strip().lstrip("+-").isdigit() else int(number)


def _text(value: Any) -> str:
    if isinstance(value, dict | list | tuple):
        raise ValueError("needs a text")
    return str(value).strip()


def _kernel(value: Any) -> Any:
    if value == "rule":
        return "rule"
    size = _whole(value)
    return size if size >= 1 and size % 2 == 1 else _refuse()


def _modalities(value: Any) -> Any:
    text = modalities_text(value)
    return text if set(str(text).split("+")) <= {*MODALITIES} else _refuse()


def _image_size(value: Any) -> Any:
    """A number has bounds; another text, such as 640x512, is taken as it is."""
    if isinstance(value, int | float) or (isinstance(value, str) and _NUMBER.fullmatch(value.strip())):
        size = _whole(value)
        return size if 1 <= size <= 100_000 else _refuse()
    return value


def _yes_or_no(value: Any) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    return words[str(value).strip().lower()] if str(value).strip().lower() in words else _refuse()


def _stages(value: Any) -> str:
    return read_stages(value) or _refuse()


def _refuse() -> Any:
    raise ValueError("not allowed")


def _logged(value: Any) -> str:
    text = str(value).strip()
    part = r"\s*\d+(\s*(-|–|\.\.)\s*\d+)?\s*"
    return text if re.fullmatch(rf"\d+(\.0)?|{part}(,{part})*", text) else _refuse()


Text = Annotated[str, BeforeValidator(_text), Field(description="a text")]
Count = Annotated[
    int, BeforeValidator(_whole), Field(ge=1, le=10_000, description="a whole number from 1 up, at most 10000")
]
Flag = Annotated[bool, BeforeValidator(_yes_or_no), Field(description="true or false")]


class RunValues(BaseModel):
    """The fields of one run under their names here; None: the source does not say."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    arm: Text | None = None
    exp_id: Text | None = None
    run_id: Text | None = None
    study: Text | None = None
    source: Text | None = None
    notes: Text | None = None
    status: Text | None = None
    selected_on: Text | None = None
    reported_on: Annotated[Literal["val", "test"], Field(description="val or test")] | None = None
    seed: (
        Annotated[int, BeforeValidator(_whole), Field(ge=0, lt=2**63, description="a whole number from 0 to 2^63 - 1")]
        | None
    ) = None
    resumed: Flag | None = None
    epochs_logged: (
        Annotated[str, BeforeValidator(_logged), Field(description="a number of epochs, or ranges such as 1-7,8-15")]
        | None
    ) = None
    cumulative_seconds: (
        Annotated[float, BeforeValidator(_number), Field(gt=0, description="a number above 0")] | None
    ) = None
    fusion: Annotated[str, BeforeValidator(fusion_text), Field(min_length=1, description="a fusion's name")] | None = (
        None
    )
    stages: (
        Annotated[str, BeforeValidator(_stages), Field(description="stages of 1 to 4, as in 1+2, or all")] | None
    ) = None
    elsewhere: Annotated[str, BeforeValidator(fusion_text), Field(description="a fusion's name")] | None = None
    threshold: (
        Annotated[float, BeforeValidator(_number), Field(ge=0, le=1, description="a fraction from 0 to 1")] | None
    ) = None
    kernel_size: (
        Annotated[
            int | Literal["rule"], BeforeValidator(_kernel), Field(description="an odd whole number from 1 up, or rule")
        ]
        | None
    ) = None
    se_reduction: (
        Annotated[int, BeforeValidator(_whole), Field(ge=1, le=1024, description="a whole number from 1 to 1024")]
        | None
    ) = None
    merge_bottleneck: Flag | None = None
    inter_shared: Flag | None = None
    modalities: (
        Annotated[str, BeforeValidator(_modalities), Field(description=f"known: {', '.join(MODALITIES)}, joined by +")]
        | None
    ) = None
    image_size: (
        Annotated[Any, BeforeValidator(_image_size), Field(description="whole pixels from 1 to 100000")] | None
    ) = None
    backbone: Text | None = None
    epochs: Count | None = None
    batch: Count | None = None
    lr: (
        Annotated[float, BeforeValidator(_number), Field(gt=0, le=1000, description="a number above 0, at most 1000")]
        | None
    ) = None


def typed(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values of a run's fields with their types.

    Args:
        values: By field of `RunValues`, metric of the metric table, or any other name; texts of cells, or JSON values.

    Returns:
        The values, in the order given, without those that are unknown or undefined; and what is wrong, each entry
        `field: found, allowed, fix`. Values under other names are taken as they are.
    """
    found: dict[str, Any] = {}
    wrong: list[tuple[str, str]] = []
    fields = {name: value for name, value in values.items() if name in RunValues.model_fields}
    errors: dict[str, Any] = {}
    try:
        model = RunValues.model_validate(fields)
    except ValidationError as error:
        errors = {str(one["loc"][0]): one for one in error.errors()}
        model = RunValues.model_validate({name: value for name, value in fields.items() if name not in errors})
    for name, value in values.items():
        if name in errors:
            wrong.append((name, _allowed(name)))
        elif name in RunValues.model_fields:
            known = getattr(model, name)
            if known is not None:
                found[name] = known
        elif name in METRICS:
            number, allowed = _figure(value, METRICS[name])
            if allowed:
                wrong.append((name, allowed))
            elif number is not None:
                found[name] = number
        else:
            found[name] = value
    return found, [f"{name}: found {values[name]!r}; allowed: {allowed}{fix(values[name])}" for name, allowed in wrong]


def fix(value: Any) -> str:
    """What to do about a value that is not allowed; nothing where no usual mistake is seen."""
    text = str(value).strip()
    if isinstance(value, datetime.date) or _DATE.fullmatch(text.lower()):
        return ". A spreadsheet made a date of it: format the column as text and enter the value again"
    if text.endswith("%"):
        return f". Write it without the percent sign: {text.rstrip('% ')}"
    if re.fullmatch(r"[-+]?\d+,\d+", text):
        return f". Write a decimal point: {text.replace(',', '.')}"
    if text.lower() in ("nan", "n/a", "na", "none", "null", "inf", "-inf"):
        return ". Leave it empty where it is not known"
    return ". Correct it"


def _allowed(name: str) -> str:
    """The description of a field of `RunValues`."""
    return next(_descriptions(RunValues.model_json_schema()["properties"][name]), "another value")


def _descriptions(schema: Mapping[str, Any]) -> Iterator[str]:
    if "description" in schema:
        yield str(schema["description"])
    for option in schema.get("anyOf", ()):
        yield from _descriptions(option)


def _figure(value: Any, metric: Metric) -> tuple[float | None, str]:
    """A result and no complaint, or what is allowed; -1 of an average precision is COCO's word for undefined."""
    whole = metric.kind == "exact" and metric.digits == 0
    if metric.score is not None:
        allowed = "a number from 0 to 100"
    elif metric.kind in ("exact", "time"):
        allowed = f"a {'whole ' if whole else ''}number above 0{f', in {metric.unit}' if metric.unit else ''}"
    else:
        allowed = "a finite number"
    try:
        number = float(_whole(value)) if whole else _number(value)
    except ValueError:
        return None, allowed
    if metric.score is not None:
        return (None, "") if number == -1 else (number, "" if 0 <= number <= 100 else allowed)
    return number, allowed if metric.kind in ("exact", "time") and number <= 0 else ""
