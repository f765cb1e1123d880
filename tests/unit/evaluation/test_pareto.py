import numpy as np

from liteasr.evaluation import pareto_front


def test_no_point_of_the_front_is_beaten_and_every_other_is() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = [tuple(map(float, pair)) for pair in rng.integers(0, 6, size=(12, 2))]
        front = pareto_front(points)  # type: ignore[arg-type]

        def beaten(place: int, points: list[tuple[float, ...]] = points) -> bool:
            x, y = points[place]
            return any(a <= x and b <= y and (a, b) != (x, y) for a, b in points)

        assert not any(beaten(place) for place in front)
        kept = {points[place] for place in front}
        assert len(kept) == len(front)
        assert all(beaten(place) or points[place] in kept for place in range(len(points)))
        assert [points[place][0] for place in front] == sorted(points[place][0] for place in front)


def test_nothing_has_no_front() -> None:
    assert pareto_front([]) == []
