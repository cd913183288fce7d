"""A sweep on a Ray cluster: nodes, workers and drivers die, and the table is the local engine's."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import cluster_work
import pandas as pd
import pytest
from cluster_work import write_facts

import interp
from interp.evidence import Evidence
from patching.engine import block_cost, schedule
from studies import cli

ray = pytest.importorskip("ray", reason="pip install 'interp[ray]'")
pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
#: Bytes that a node keeps for results; Ray takes a third of the memory otherwise.
STORE = 80 * 2**20
#: Units after which workers wait to be killed.
HELD = 8


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """What every process of the cluster finds: the sources, one thread, nothing told to anyone."""
    from_sources = {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        for name, value in from_sources.items():
            patched.setenv(name, value)
        yield dict(os.environ)


@pytest.fixture(scope="module")
def cluster(environment: dict[str, str]) -> Iterator[Any]:
    """Three nodes on this machine, with room for one worker each."""
    from ray.cluster_utils import Cluster

    room = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args=room)
    for _ in range(2):
        nodes.add_node(num_cpus=1, object_store_memory=STORE)
    try:
        yield nodes
    finally:
        nodes.shutdown()


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Evidence:
    """The sweep in this process alone."""
    with pytest.MonkeyPatch.context() as patched:
        for home, name in ((schedule, "UNIT_FLOPS"), (block_cost, "CPU_PASS_BYTES")):
            patched.setattr(home, name, getattr(home, name))
        folder = tmp_path_factory.mktemp("local")
        return interp.distribute(cluster_work.load, cluster_work.heads, folder, engine="local")


def begun(folder: Path) -> list[str]:
    """The key of every unit that was begun, in order."""
    log = folder / "units.log"
    return log.read_text().split("\n")[:-1] if log.exists() else []


def wait_until_all_hold(place: Path, workers: int = 3) -> None:
    """Wait until every worker has begun a unit that it is not to end."""
    while len(list(place.glob("held-*"))) < workers:
        time.sleep(0.05)


def same(one: Evidence, other: Evidence) -> None:
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)


def test_a_node_that_is_killed_midway_changes_no_number(cluster, local, tmp_path, capsys):
    folder = tmp_path / "run"

    def kill() -> None:
        wait_until_all_hold(tmp_path)
        node = cluster.list_all_nodes()[-1]
        daemon = node.all_processes["raylet"][0].process.pid
        cluster.remove_node(node, allow_graceful=False)
        # A worker outlives its node's daemon for a moment; on a machine that dies it does not.
        for worker in tmp_path.glob(f"held-{daemon}-*"):
            with suppress(ProcessLookupError):
                os.kill(int(worker.name.split("-")[-1]), signal.SIGKILL)
        (tmp_path / "go").touch()

    killer = Thread(target=kill)
    killer.start()
    load = partial(cluster_work.load, (tmp_path, HELD))
    table = interp.distribute(load, cluster_work.heads, folder, address=cluster.address)
    killer.join()
    cluster.add_node(num_cpus=1, object_store_memory=STORE)
    same(table, local)
    keys = begun(folder)
    assert len(set(keys)) > HELD + 3, "it was killed midway"
    assert len(keys) - len(set(keys)) == 1, "what it was making, and nothing else, was made anew"
    assert "has died" in capsys.readouterr().err
    assert not list(folder.glob("units/*.claim"))
    altered = local.table.assign(value=local.table["value"] + 1e-6)
    with pytest.raises(AssertionError):
        pd.testing.assert_frame_equal(table.table, altered, check_exact=True)


DRIVER = """
import sys, cluster_work, interp
from functools import partial
from pathlib import Path
place, held, address = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
load = partial(cluster_work.load, (place, held))
interp.distribute(load, cluster_work.heads, place / "run", address=address)
"""


def test_a_driver_that_is_killed_goes_on_from_the_folder(cluster, local, environment, tmp_path):
    command = [sys.executable, "-c", DRIVER, str(tmp_path), str(HELD), cluster.address]
    driver = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    wait_until_all_hold(tmp_path)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    table = interp.distribute(
        cluster_work.load, cluster_work.heads, tmp_path / "run", address=cluster.address
    )
    same(table, local)
    keys = begun(tmp_path / "run")
    assert len(set(keys)) > HELD + 3, "it was killed midway"
    assert len(keys) - len(set(keys)) <= 3, "at most what each worker was making was made anew"


def test_what_the_work_raises_comes_as_it_is(cluster, tmp_path):
    def refuse(loaded: int) -> None:
        raise ValueError(f"got {loaded}; expected another")

    with pytest.raises(ValueError, match="^got 7; expected another$"):
        interp.distribute(lambda: 7, refuse, tmp_path, address=cluster.address)


def test_workers_that_die_again_and_again_are_told_of(cluster, tmp_path):
    def die(loaded: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ValueError, match="4 workers died one after another and made nothing"):
        interp.distribute(lambda: 7, die, tmp_path, workers=1, address=cluster.address)


def test_a_comparison_on_a_cluster_is_the_one_of_one_process(cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pair = ("--base", "organism-base", "--tuned", "organism-evasive-high", "--facts", "some.csv")
    write_facts(tmp_path / "some.csv")
    on_ray = ("--engine", "ray", "--address", cluster.address, "--workers", "2")
    for out, options in (("here", ()), ("there", on_ray), ("there", on_ray)):
        monkeypatch.setattr(sys, "argv", ["interp", "compare", *pair, "--out", out, *options])
        cli.main()
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "finished already",
        "report: there/report.html",
    ]
    for name in ("evidence.parquet", "verdict.json", "outputs.csv"):
        assert Path("here", name).read_bytes() == Path("there", name).read_bytes(), name
    assert not Path("there", "units").exists() and not list(Path("there").glob("*.lock"))
