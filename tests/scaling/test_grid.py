"""The grid: each cell spends its budget, sizes and batches follow the rules, and what cannot be built is refused."""

from itertools import pairwise

import pytest

from models.llama import LlamaShape
from tasks.scaling.grid import batch_sequences, grid, ladder_of, rate_share
from tasks.scaling.shapes import family


def test_every_cell_spends_its_budget_and_the_middle_has_the_ratio_asked_for() -> None:
    """6 x 20 x N^2 = 1.2e13 for N = 316,228; sizes around it at 1.7 to the power of -1.5, -0.5, 0.5, 1.5 of that."""
    cells = grid([1.2e13, 4e12, 3.6e13], sizes=4, vocabulary=512, tokens_per_parameter=20)
    assert len({cell.name for cell in cells}) == len(cells) == 12
    assert [cell.flops for cell in cells] == sorted(cell.flops for cell in cells)
    for cell in cells:
        assert cell.spent == pytest.approx(cell.flops, rel=0.05)
    middle = [cell for cell in cells if cell.flops == 1.2e13]
    wanted = [316_228 * 1.7 ** (place - 1.5) for place in range(4)]
    assert [cell.sized.parameters for cell in middle] == pytest.approx(wanted, rel=0.25)
    assert middle[1].tokens / middle[1].sized.parameters == pytest.approx(20 * 1.7, rel=0.3)


def test_sizes_begin_where_the_vocabulary_lets_them() -> None:
    """Four layers of width 16 and a table of 4,096 x 16: 65,536 + 4 (4 x 256 + 3 x 16 x 48 + 32) + 16 = 78,992."""
    cells = grid([1e12, 3e12, 9e12], sizes=4, vocabulary=4096, tokens_per_parameter=20)
    assert cells[0].sized.parameters == 78_992
    assert [cell.sized.parameters for cell in cells[:4]] == pytest.approx(
        [78_992 * 1.7**place for place in range(4)], rel=0.15
    )
    assert cells[8].sized.parameters == pytest.approx(273_861 * 1.7**-1.5, rel=0.15)  # sqrt(9e12 / 120)


def test_a_family_grows_in_one_proportion() -> None:
    """At width 128 the laptop recipe's four layers, at 768 the twelve of gpu-124m; every shape is one that is built."""
    shapes = {shape.architecture["width"]: shape for shape, _ in zip(family(4096), range(80), strict=False)}
    assert shapes[128].architecture["layers"] == min(shape.architecture["layers"] for shape in shapes.values()) == 4
    feed_forward = {width: shape.architecture["feed_forward"] / width for width, shape in shapes.items()}
    assert all(2.66 < ratio < 2.85 for width, ratio in feed_forward.items() if width > 24)
    assert shapes[768].architecture["layers"] in (11, 12)
    for shape in list(shapes.values())[:30]:
        LlamaShape(**shape.architecture)
    heads = {width: width // shape.architecture["heads"] for width, shape in shapes.items()}
    assert (heads[64], heads[128], heads[512], heads[768]) == (32, 32, 64, 64)
    assert all(22 <= head <= 46 for width, head in heads.items() if 24 <= width < 512)
    sizes = [shape.parameters for shape in shapes.values()]
    assert sizes == sorted(sizes)
    assert max(after / before for before, after in pairwise(sizes)) < 1.6


def test_the_laptop_recipe_is_where_the_rules_begin() -> None:
    assert batch_sequences(480 * 16 * 256, 256) == 16
    assert batch_sequences(2.5e9, 1024) * 1024 == pytest.approx(524_288, rel=0.05)  # gpu-124m
    assert rate_share(853_120) == 1.0
    assert rate_share(10_000) == 1.0
    assert rate_share(85_000_000) == pytest.approx(0.08, abs=0.005)


@pytest.mark.parametrize("vocabulary", [256, 512, 1000, 4096, 50_257])
def test_no_size_comes_twice(vocabulary: int) -> None:
    for scale in (1e12, 1e13, 1e15):
        cells = grid(ladder_of(scale * vocabulary, 3), sizes=6, vocabulary=vocabulary, tokens_per_parameter=20)
        assert len({(cell.flops, cell.sized.parameters) for cell in cells}) == 18


def test_budgets_rise_by_their_ratio() -> None:
    assert ladder_of(6.25e12, 3) == pytest.approx([1e12, 2.5e12, 6.25e12])


def test_grids_that_show_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 3 budgets and 4 sizes of each; found 2 and 4"):
        grid([1e12, 2e12], sizes=4, vocabulary=512, tokens_per_parameter=20)
    with pytest.raises(ValueError, match="a smaller vocabulary than 50,000"):
        grid([1e10, 2e10, 4e10], sizes=4, vocabulary=50_000, tokens_per_parameter=20)
    with pytest.raises(ValueError, match="above 0"):
        grid([1e12, 2e12, -4e12], sizes=4, vocabulary=512, tokens_per_parameter=20)
