"""What can be told of the Ray engine without Ray: shares of a cluster, deaths, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

import interp
from interp.progress import Detail, tell
from interp.runs import ray_engine
from interp.runs.ray_engine import DEATHS, Order, Share


@pytest.mark.parametrize(
    ("nodes", "workers", "gpus", "expected"),
    [
        ([{"CPU": 4}], None, None, Share(1, 4, 0)),
        ([{"CPU": 4}, {"CPU": 8}], None, None, Share(2, 4, 0)),
        ([{"CPU": 4}, {"CPU": 8}], 3, None, Share(3, 4, 0)),
        ([{"CPU": 4}], 3, None, Share(3, 1, 0)),
        ([{"CPU": 2}], 9, None, Share(9, 1, 0)),
        ([{"CPU": 16, "GPU": 8}, {"CPU": 2}], None, None, Share(8, 2, 1)),
        ([{"CPU": 16, "GPU": 8}, {"CPU": 2}], None, 0, Share(2, 8, 0)),
        ([{"CPU": 16, "GPU": 8}], None, 4, Share(2, 8, 4)),
        ([{"CPU": 2, "GPU": 8}], None, None, Share(2, 1, 1)),
    ],
)
def test_a_cluster_is_shared_out(nodes, workers, gpus, expected):
    assert Share.of(nodes, workers, gpus) == expected


def test_more_gpus_than_a_machine_has_are_refused():
    with pytest.raises(ValueError, match="gpus got 4 for each worker; expected at most"):
        Share.of([{"CPU": 8, "GPU": 2}, {"CPU": 8, "GPU": 2}], None, 4)


class _Error(Exception):
    pass


class _TaskError(_Error):
    cause: Exception | None = None


class Cluster:
    """Stands in for Ray: what the workers give or raise, in the order in which they are started."""

    class exceptions:  # noqa: N801
        RayError, RayTaskError = _Error, _TaskError

    def __init__(self, *ends: Any) -> None:
        self.ends, self.started, self.killed = list(ends), [], []

    def start(self, name: str) -> Any:
        self.started.append(name)
        cluster = self

        class Actor:
            class finish:  # noqa: N801
                remote = staticmethod(lambda: cluster.ends[len(cluster.started) - 1])

        return Actor

    def wait(self, running: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return running[:1], running[1:]

    def get(self, end: Any) -> Any:
        if isinstance(end, Exception):
            raise end
        return end() if callable(end) else end

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)


def crew(cluster: Cluster, folder: Path) -> ray_engine._Crew:
    (folder / "units").mkdir(exist_ok=True)
    return ray_engine._Crew(cluster, cluster.start, folder)


def test_the_first_result_is_taken_and_the_dead_are_replaced(tmp_path, capsys):
    cluster = Cluster(_Error("node lost"), "still working", "whole")
    (tmp_path / "units").mkdir()
    claims = [tmp_path / "units" / f"{n}.claim" for n in (1, 2)]
    for claim, worker in zip(claims, ("worker-1", "worker-2"), strict=True):
        claim.write_text(worker)
    assert crew(cluster, tmp_path).result(2) == "still working"
    assert cluster.started == ["worker-1", "worker-2", "worker-3"]
    assert "worker-1 has died (node lost); another takes its place" in capsys.readouterr().err
    assert [claim.exists() for claim in claims] == [False, True]
    assert len(cluster.killed) == 2, "the dead one, and the one that is no longer needed"


def test_deaths_are_borne_as_long_as_something_is_made(tmp_path):
    number = iter(range(100))

    def die_having_made_something() -> None:
        (tmp_path / "units" / f"{next(number)}.safetensors").touch()
        raise _Error("preempted")

    ends = [die_having_made_something] * 20
    assert crew(Cluster(*ends, "whole"), tmp_path).result(1) == "whole"
    useless = [_Error("out of memory\nmore") for _ in range(20)]
    with pytest.raises(
        ValueError, match=f"{DEATHS + 1} workers died .* the last of: out of memory more"
    ):
        crew(Cluster(*useless), tmp_path).result(1)


def test_what_the_work_raises_comes_as_it_is(tmp_path):
    error = _TaskError("a long trace")
    error.cause = ValueError("got 3; expected 4")
    with pytest.raises(ValueError, match="^got 3; expected 4$"):
        crew(Cluster(error), tmp_path).result(1)
    with pytest.raises(_TaskError):
        crew(Cluster(_TaskError("a cause that does not travel")), tmp_path).result(1)


def test_an_order_is_carried_out_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    folder = tmp_path / "run"
    folder.mkdir()
    loads: list[str] = []

    def load() -> int:
        loads.append(Path.cwd().name)
        return 7

    order = Order(folder, load, lambda loaded: loaded + 1, lambda loaded: {"work": str(loaded)})
    try:
        assert order.finish("a", str(tmp_path / "models")) == 8
    finally:
        tell(Detail.USUAL)
    assert loads == ["models"] and '"work": "7"' in (folder / "run.json").read_text()
    gone = Order(tmp_path / "gone", load, lambda loaded: loaded, None)
    with pytest.raises(ValueError, match="gone is not there on .* all machines of the cluster share"):
        gone.finish("a", str(tmp_path))


def test_what_cannot_be_distributed_is_one_line(tmp_path, monkeypatch):
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(ray_engine, "import_module", absent)
    for options, message in (
        ({}, r"engine='ray' needs Ray, which cannot be imported here .*; pip install 'interp\[ray\]'"),
        ({"engine": "dask"}, "engine must be 'ray' or 'local', got 'dask'"),
        ({"workers": 0}, "workers got 0; expected"),
        ({"gpus": -1}, "gpus got -1; expected"),
        ({"engine": "local", "workers": 2}, "are of engine='ray'"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            interp.distribute(lambda: 1, lambda one: one, tmp_path / "run", **options)
        assert "\n" not in str(error.value)


def test_the_local_engine_keeps_units_and_knows_its_job(tmp_path):
    def about(loaded: int) -> dict[str, int]:
        return {"given": loaded}

    for _ in range(2):
        result = interp.distribute(lambda: 3, lambda n: n * 2, tmp_path, engine="local", job=about)
        assert result == 6
    with pytest.raises(ValueError, match="another run: given was 3, is 4"):
        interp.distribute(lambda: 4, lambda n: n, tmp_path, engine="local", job=about)
