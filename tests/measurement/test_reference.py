"""Points of the reference."""

from stages.measurement.reference import spread


def test_points_are_spread_over_the_whole_trajectory():
    assert spread([1, 2, 3, 4, 5], 3) == [1, 3, 5]
    assert spread([1, 2], 6) == [1, 2]
