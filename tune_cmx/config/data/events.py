"""How raw events become an image: representation, window and scale."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tune_cmx.config.section import Section, Unit

Representation = Literal["count", "voxel_grid", "time_surface"]


class EventWindow(Section):
    """Which events an image shows: those of a time, or a number of them. Give one of the two keys."""

    ms: Annotated[float, Field(gt=0, le=10_000), Unit("ms")] | None = None
    """Length of the window in time. It ends at the time of the image, which is not part of it."""
    events: Annotated[int, Field(ge=1, le=100_000_000), Unit("events")] | None = None
    """Number of events: the last ones before the time of the image."""

    @model_validator(mode="after")
    def _one_form(self) -> "EventWindow":
        if (self.ms is None) == (self.events is None):
            got = "neither" if self.ms is None else f"ms: {self.ms:g} and events: {self.events}"
            raise ValueError(f"give one of ms and events, as in {{ms: 50}} or {{events: 20000}}; got {got}")
        return self


class EventsConfig(Section):
    """How raw events become an image; only for data that hold raw events.

    An image shows events before its time, so a detector sees nothing that happened later. DSEC-Det's toolkit calls
    this `sync="front"` (Gehrig and Scaramuzza, Nature 2024).
    """

    representation: Representation = "count"
    """`count`: events at a pixel, one band for each polarity (Maqueda et al., CVPR 2018). `voxel_grid`: signed events
    in `bins` bands, each event shared between the two nearest bins (Zhu et al., CVPR 2019, eq. 1 to 3).
    `time_surface`: decay since the last event at a pixel, one band for each polarity (Lagorce et al., TPAMI 2017)."""
    window: EventWindow = EventWindow(ms=50.0)
    """Which events an image shows: `{ms: 50}` or `{events: 20000}`. Default: 50 ms, the time between two images of
    DSEC."""
    bins: Annotated[int, Field(ge=2, le=32)] = 5
    """Bands of a voxel grid; only for `voxel_grid`. Default: as in E2VID (Rebecq et al., TPAMI 2021)."""
    tau_ms: Annotated[float, Field(gt=0, le=10_000), Unit("ms")] = 50.0
    """Time after which a time surface has fallen to 1/e; only for `time_surface`. Default: the default window."""
    saturation: Annotated[int, Field(ge=1, le=10_000), Unit("events")] = 10
    """Number of events at a pixel from which a band stays at its limit; not for `time_surface`. Default: as in RVT
    (Gehrig and Scaramuzza, CVPR 2023)."""

    def idle(self) -> list[str]:
        """The fields that change nothing in this representation."""
        used = {"count": "saturation", "voxel_grid": "bins saturation", "time_surface": "tau_ms"}[self.representation]
        return [field for field in ("bins", "tau_ms", "saturation") if field not in used.split()]

    @property
    def bands(self) -> int:
        """Number of bands of an image."""
        return self.bins if self.representation == "voxel_grid" else 2
