"""A trial's configuration, small."""

import pytest

from tune_cmx.config.trial import FusionConfig, ModelConfig, ScheduleConfig, TrialConfig


@pytest.fixture
def config() -> TrialConfig:
    """CSSA at stages 2 and 3, three epochs."""
    fusion = FusionConfig(kind="cssa", stages=(2, 3), elsewhere="frm_ffm", options={"switching_threshold": 0.3})
    return TrialConfig(
        model=ModelConfig(backbone="mit_nano", fusion=fusion), schedule=ScheduleConfig(epochs=3, batch_size=2)
    )
