"""Jobs on several threads give what one gives, in order, and leave the settings as they were."""

from collections.abc import Iterator

import pytest
import torch
from probe_toys import planted
from threadpoolctl import threadpool_info

import probes
from probes.parallel import each


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Two torch threads, then as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_and_threads_are_put_back(two_threads: None) -> None:
    seen: list[int] = []

    def job(n: int) -> int:
        seen.append(torch.get_num_threads())
        return n * n

    before = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert each(job, range(20)) == [n * n for n in range(20)]
    assert set(seen) == {1} and torch.get_num_threads() == 2
    after = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert after == before


def test_an_error_is_passed_on_and_threads_are_put_back(two_threads: None) -> None:
    with pytest.raises(ZeroDivisionError):
        each(lambda n: 1 // n, [1, 0])
    assert torch.get_num_threads() == 2


def test_a_sweep_does_not_depend_on_the_number_of_threads(two_threads: None) -> None:
    toy, _ = planted(layers=5)
    many = probes.cross_validate(toy, seed=0).table
    torch.set_num_threads(1)
    one = probes.cross_validate(toy, seed=0).table
    rows = [name for name in one if name != "value"]
    assert many[rows].equals(one[rows]) and (many["value"] - one["value"]).abs().max() < 1e-6
    other = probes.cross_validate(toy, seed=1).table
    assert (other["value"] - one["value"]).abs().max() > 1e-6
