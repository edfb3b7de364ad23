"""A run so small that it takes seconds."""

import pytest

from qsm_workflows.training.config import TrainingConfig
from qsm_workflows.training.pool import Pool, make_pool


@pytest.fixture(scope="session")
def config() -> TrainingConfig:
    return TrainingConfig(
        method="deepqsm",
        architecture="unet",
        width=2,
        mode="individual",
        volumes="shapes",
        steps=6,
        pool=3,
        validation=1,
        volume_shape=(20, 24, 18),
        patches=((16, 16, 16),),
        batch=1,
        warmup=2,
        noise_probability=0.5,
        seed=3,
    )


@pytest.fixture(scope="session")
def pool(config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"), config)
