import numpy as np
import pytest

from models.ngram_cache import CacheConfig, cached


def test_the_cache_by_hand() -> None:
    # a use weighs half for each token since: before the third token, 0 weighs 1/4 and 1 weighs 1/2
    logs = np.log(np.array([0.1, 0.1, 0.1, 0.2]))
    mixed = np.exp(cached(logs, np.array([0, 1, 0, 2]), CacheConfig(share=0.25, half_life_tokens=1)))
    assert mixed == pytest.approx([0.1, 0.075, 0.075 + 0.25 * (1 / 4) / (3 / 4), 0.15])


def test_the_cache_and_the_model_together_give_away_exactly_one() -> None:
    past = np.array([3, 1, 3, 0, 2, 1])
    config = CacheConfig(share=0.4, half_life_tokens=2.5)
    uniform = np.full(len(past) + 1, np.log(1 / 5))
    total = sum(np.exp(cached(uniform, np.array([*past, word]), config)[-1]) for word in range(5))
    assert total == pytest.approx(1, abs=1e-12)
    untouched = cached(uniform[:-1], past, CacheConfig(share=0, half_life_tokens=3))
    np.testing.assert_array_equal(untouched, uniform[:-1])


@pytest.mark.parametrize("settings", [{"share": 1.0}, {"half_life_tokens": 0.5}])
def test_wrong_cache_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"cache.{next(iter(settings))}"):
        CacheConfig(**settings)
