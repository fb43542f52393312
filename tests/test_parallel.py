"""Several threads and processes at once, and processes that are killed."""

import contextlib
import gc
import json
import os
import subprocess
import sys
import tracemalloc
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from joblib.externals.loky import get_reusable_executor
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV

from sktransfer import cache_info
from tests.conftest import HANGS, make_pictures
from tests.small_estimators import LITE0, make_classifier, make_extractor

ROOT = Path(__file__).resolve().parents[1]
GRID = {"unfreeze_depth": [1, 0], "weight_decay": [1e-4, 1e2]}

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


classifier = partial(
    make_classifier,
    backbone=LITE0,
    engine="torch",
    max_epochs=1,
    optimizer="adamw",
)

extractor = partial(make_extractor, batch_size=4)


def search(n_jobs=None, **parameters):
    return GridSearchCV(
        classifier(**parameters),
        GRID,
        cv=2,
        n_jobs=n_jobs,
        scoring="neg_log_loss",
        error_score="raise",
    )


def scores(search):
    return np.array([search.cv_results_[f"split{i}_test_score"] for i in range(2)])


@pytest.fixture(scope="module")
def serial():
    """Scores of a search in one process, without a cache."""
    found = scores(search().fit(*make_pictures(24)))
    assert len(np.unique(found.round(6))) > 2  # equal scores would show no difference
    return found


# The first lines of the scripts below. Scripts that only use the store do not import torch, which
# would take seconds.
STORE = """
import json, multiprocessing, os, random, signal, sys, time, types
from pathlib import Path
import numpy as np

package = types.ModuleType("sktransfer")
package.__path__ = [os.path.join(os.environ["PYTHONPATH"], "sktransfer")]
sys.modules["sktransfer"] = package
from sktransfer.activations.store import database as module
from sktransfer.activations.store.database import Store
"""
ESTIMATORS = """
import json, multiprocessing, os, signal, sys, time, warnings
import numpy as np
import joblib
from sktransfer import cache_info
from sktransfer.activations import streaming
from sktransfer.activations.store import stored
from tests.conftest import make_pictures
from tests.test_parallel import extractor, scores, search
"""


def run_script(path, script, *args, **environment):
    """Run a script in a new process, and return the JSON in the last line that it prints."""
    path.write_text(script)
    finished = subprocess.run(
        [sys.executable, str(path), *map(str, args)],
        cwd=path.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default", **environment},
        capture_output=True,
        text=True,
        timeout=HANGS,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.fixture(scope="module", autouse=True)
def workers_with_their_own_number_of_threads():
    """Use the same loky workers for all tests, because they take seconds to start.

    Without OMP_NUM_THREADS, joblib gives each worker its share of the cores.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OMP_NUM_THREADS", raising=False)
        get_reusable_executor().shutdown(wait=True)
        yield
        get_reusable_executor().shutdown(wait=True)


# Searches.


def workers(backend):
    """Use workers of one thread each, like these tests: more threads round differently."""
    threads = {"inner_max_num_threads": 1} if backend == "loky" else {}
    return joblib.parallel_config(backend, **threads)


@pytest.mark.parametrize("backend", ["loky", "threading"])
@pytest.mark.parametrize("as_files", [False, True], ids=["arrays", "files"])
def test_a_search_in_parallel_has_the_serial_scores(
    tmp_path, pictures, picture_files, serial, backend, as_files
):
    X = picture_files[0] if as_files else pictures[0]
    folder = tmp_path / "cache"
    with workers(backend):
        found = search(n_jobs=2, cache=folder).fit(X, pictures[1])
    assert_allclose(scores(found), serial, rtol=1e-4)
    assert cache_info(folder).rows == 48  # two depths
    with workers(backend):  # again, from the cache
        again = search(n_jobs=2, cache=folder).fit(X, pictures[1])
    assert_allclose(scores(again), scores(found), rtol=1e-6)
    assert cache_info(folder).rows == 48


DASK = """
if __name__ == "__main__":
    from distributed import Client, LocalCluster

    X, y = make_pictures(24)
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    with LocalCluster(**options, dashboard_address=None) as cluster, Client(cluster):
        with joblib.parallel_config("dask"):
            found = search(cache=os.path.abspath("cache")).fit(X, y)
    print(json.dumps([scores(found).tolist(), cache_info("cache").rows]))
"""


@pytest.mark.slow  # starting three processes takes half a minute
def test_a_search_on_dask_has_the_serial_scores(tmp_path, serial):
    pytest.importorskip("distributed")
    found, rows = run_script(tmp_path / "script.py", ESTIMATORS + DASK)
    assert_allclose(found, serial, rtol=1e-4)
    assert rows == 48


def test_arrays_that_loky_maps_from_a_file(tmp_path):
    X, y = make_pictures(24, size=128)
    assert X.nbytes > 1_000_000  # larger arrays reach the workers as read-only memory maps
    before = X.copy()
    alone = search().fit(X, y)
    with workers("loky"):
        found = search(n_jobs=2, cache=tmp_path / "cache").fit(X, y)
    assert_allclose(scores(found), scores(alone), rtol=1e-4)
    assert_array_equal(X, before)
    assert cache_info(tmp_path / "cache").rows == 48


def test_readers_and_workers_do_not_outnumber_the_cores():
    def threads():
        import torch

        from sktransfer._common.threads import reading_threads

        with reading_threads(None) as n_readers:
            return os.getpid(), n_readers, torch.get_num_threads()

    found = joblib.Parallel(2)(joblib.delayed(threads)() for _ in range(8))
    assert os.getpid() not in {pid for pid, *_ in found}
    share = max(1, joblib.cpu_count() // 2)
    for _, n_readers, n_threads in found:
        assert n_readers <= share
        assert n_threads <= share


def test_passes_in_threads_share_the_readers(pictures, monkeypatch):
    from sktransfer._common import threads
    from sktransfer.activations import streaming

    monkeypatch.setattr(threads.torch, "get_num_threads", lambda: 4)
    seen = []
    original = streaming.read_batches

    def spy(*args, n_threads, **options):
        seen.append(n_threads)
        return original(*args, n_threads=n_threads, **options)

    monkeypatch.setattr(streaming, "read_batches", spy)
    model = extractor().fit(pictures[0])
    with threads.reading_threads(None) as first:
        model.transform(pictures[0])
    model.transform(pictures[0])
    assert (first, *seen) == (4, 2, 4)


# Many processes, one folder.

STAMPEDE = """
def one(folder, number, go, answers):
    X, _ = make_pictures(40)
    model = extractor(cache=folder).fit(X)
    go.wait()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        features = model.transform(X)
    np.save(f"features {number}.npy", features)
    answers.put([str(warning.message) for warning in found])

def stampede(method):
    context = multiprocessing.get_context(method)
    go, answers = context.Barrier(8), context.Queue()
    workers = [
        context.Process(target=one, args=("stampede", number, go, answers)) for number in range(8)
    ]
    for worker in workers:
        worker.start()
    messages = sum((answers.get() for _ in workers), [])
    for worker in workers:
        worker.join()
    info = cache_info("stampede")
    return [messages, [worker.exitcode for worker in workers], info.rows, info.pictures]
"""


def check_stampede(folder, found):
    messages, codes, rows, pictures = found
    assert messages == []
    assert codes == [0] * 8
    assert rows == pictures == 40
    X, _ = make_pictures(40)
    expected = extractor().fit_transform(X)
    for number in range(8):
        features = np.load(folder / f"features {number}.npy")
        assert_allclose(features, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
def test_eight_new_processes_with_the_same_cold_keys(tmp_path):
    script = (
        f"{ESTIMATORS}{STAMPEDE}if __name__ == '__main__': print(json.dumps(stampede('spawn')))"
    )
    check_stampede(tmp_path, run_script(tmp_path / "script.py", script))


# Forked processes inherit their parent's locks and connections, but not its threads. A single
# script tests all cases, because starting one takes seconds.
FORKS = """
def transform(kill):
    X, _ = make_pictures(24)
    model, original, rows = extractor(cache="killed").fit(X), streaming.engine_for, []
    def count(*args):
        rows.append(len(args[2]))
        if kill and len(rows) == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args)
    stored._ROWS, streaming.engine_for = 4, count
    model.transform(X)
    return sum(rows)

def wait_for_ctrl_c(pipe):
    original, batches = streaming.engine_for, []
    def stuck(*args):
        batches.append(args)
        if len(batches) == 3:
            os.write(pipe, b"two batches are done")
            while True:
                time.sleep(0.01)
        return original(*args)
    streaming.engine_for = stuck
    extractor(cache="interrupted").fit_transform(make_pictures(400)[0])

if __name__ == "__main__":
    X, y = make_pictures(24)
    answers = {}
    # Threads that have computed already do not survive a fork.
    extractor(image_size=64, n_jobs=2).fit_transform(X)
    with joblib.parallel_config("multiprocessing"):
        answers["scores"] = scores(search(n_jobs=2, cache="search").fit(X, y)).tolist()
    answers["rows"] = cache_info("search").rows
    answers["stampede"] = stampede("fork")
    pid = os.fork()
    if pid == 0:
        try:
            transform(kill=True)
        finally:
            os._exit(1)
    answers["killed"] = os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    answers["kept"] = cache_info("killed").rows
    answers["computed"] = transform(kill=False)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            wait_for_ctrl_c(write_end)
        except KeyboardInterrupt:
            os._exit(0)
        finally:
            os._exit(99)
    os.read(read_end, 1)
    os.kill(pid, signal.SIGINT)
    answers["left by Ctrl-C"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    answers["kept by Ctrl-C"] = cache_info("interrupted").rows
    print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    """The folder that the forked processes worked in, and the results of the script."""
    folder = tmp_path_factory.mktemp("forks")
    script = ESTIMATORS + STAMPEDE + FORKS
    return folder, run_script(folder / "script.py", script, OMP_NUM_THREADS="2")


@needs_fork
def test_a_search_in_forked_processes_has_the_serial_scores(forks, serial):
    _, answers = forks
    assert_allclose(answers["scores"], serial, rtol=1e-4)
    assert answers["rows"] == 48


@needs_fork
def test_eight_forked_processes_with_the_same_cold_keys(forks):
    folder, answers = forks
    check_stampede(folder, answers["stampede"])


@needs_fork
def test_a_process_that_is_killed_leaves_what_it_computed(forks):
    _, answers = forks
    assert answers["killed"]
    assert answers["kept"] == 12
    assert answers["computed"] == 12


@needs_fork
def test_ctrl_c_ends_a_pass_where_it_is_and_keeps_its_rows(forks):
    _, answers = forks
    assert answers["left by Ctrl-C"] == 0
    assert answers["kept by Ctrl-C"] == 8  # two batches of four


CROWD = """
def one(number, go, answers):
    rng, seen = np.random.default_rng(number), 0
    go.wait()
    with Store(Path("."), 10**9) as store:
        for _ in range(30):
            some = [bytes([n]) * 32 for n in rng.choice(200, 10, replace=False).tolist()]
            if rng.random() < 0.3:
                store.write(b"space", {key: np.full(1280, key[0], np.float32) for key in some})
            for key, row in store.read(b"space", some).items():
                assert row.shape == (1280,) and (row == key[0]).all()
                seen += 1
            store.mark_used()
    answers.put(seen)

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    go, answers = context.Barrier(8), context.Queue()
    workers = [context.Process(target=one, args=(number, go, answers)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    codes = [worker.exitcode for worker in workers]
    seen = sum(answers.get() for _ in workers) if not any(codes) else 0
    with Store(Path("."), 10**9) as store:
        check = store._connection.execute("PRAGMA integrity_check").fetchone()[0]
    print(json.dumps([codes, seen, check]))
"""


@needs_fork
def test_eight_processes_read_and_write(tmp_path):
    codes, seen, check = run_script(tmp_path / "script.py", STORE + CROWD)
    assert codes == [0] * 8
    assert seen > 100
    assert check == "ok"


# Processes that are killed, and processes that fork.

KILLS = """
def write_until_killed(pipe, number):
    counter = 0
    with Store(Path("."), 10**9) as store:
        while True:
            rows = {
                b"%d %d %d" % (number, counter, i): np.full(300 * (i + 1), counter, np.float32)
                for i in range(random.randint(1, 5))
            }
            store.write(b"space", rows)
            os.write(pipe, b"%d %d\\n" % (counter, len(rows)))  # acknowledged
            counter += 1

def one_round(number, n_writers):
    writers = []
    for writer in range(n_writers):
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read_end)
            try:
                random.seed(writer)
                write_until_killed(write_end, number * 10 + writer)
            finally:
                os._exit(1)
        os.close(write_end)
        writers.append((pid, read_end, number * 10 + writer))
    # In every other round, wait until each has written something. Otherwise kill them while they
    # are starting.
    begun = [os.read(read_end, 2**16) if number % 2 else b"" for _, read_end, _ in writers]
    time.sleep(random.uniform(0.005, 0.12))
    for pid, *_ in writers:
        os.kill(pid, signal.SIGKILL)
    n_rows = 0
    for start, (pid, read_end, name) in zip(begun, writers):
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status)  # it was killed, and did not fail by itself
        with os.fdopen(read_end, "rb") as pipe:
            for line in (start + pipe.read()).splitlines():
                counter, n = map(int, line.split())
                keys = [b"%d %d %d" % (name, counter, i) for i in range(n)]
                with Store(Path("."), 10**9) as store:
                    found = store.read(b"space", keys)
                assert set(found) == set(keys), (name, counter, n, len(found))
                for i, key in enumerate(keys):
                    assert found[key].shape == (300 * (i + 1),)
                    assert (found[key] == counter).all()
                n_rows += n
    return n_rows

if __name__ == "__main__":
    n_rounds, n_writers = int(sys.argv[1]), int(sys.argv[2])
    random.seed(0)
    n_rows = [one_round(number, n_writers) for number in range(n_rounds)]
    with Store(Path("."), 10**9) as store:
        check = store._connection.execute("PRAGMA integrity_check").fetchone()[0]
    print(json.dumps([sum(n_rows), check]))
"""


@needs_fork
@pytest.mark.parametrize(
    ("n_rounds", "n_writers"), [(20, 1), pytest.param(100, 4, marks=pytest.mark.slow)]
)
def test_killed_writers_lose_nothing_they_were_told_is_kept(tmp_path, n_rounds, n_writers):
    n_rows, check = run_script(tmp_path / "script.py", STORE + KILLS, n_rounds, n_writers)
    assert n_rows >= n_rounds // 2 * n_writers
    assert check == "ok"


OPEN = """
def row(n):
    return {b"%d" % n: np.full(5000, n, np.float32)}

def holds(store, *numbers):
    found = store.read(b"space", [b"%d" % n for n in numbers])
    return len(found) == len(numbers) and all((v == int(k)).all() for k, v in found.items())

if __name__ == "__main__":
    module.journal_mode = lambda version: sys.argv[1]
    with Store(Path("."), 10**9) as ours:
        ours.write(b"space", row(1))
        children = []
        for n in (2, 3):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    with Store(Path("."), 10**9) as theirs:
                        theirs.write(b"space", row(n))
                        code = 0 if holds(theirs, 1, n) else 2
                finally:
                    os._exit(code)
            children.append(pid)
        for n in range(10, 20):
            ours.write(b"space", row(n))
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        fine = holds(ours, 1, 2, 3, *range(10, 20))
        check = ours._connection.execute("PRAGMA integrity_check").fetchone()[0]
    print(json.dumps([codes, fine, check]))
"""


@needs_fork
@pytest.mark.parametrize("mode", ["TRUNCATE", "WAL"])
def test_a_fork_with_an_open_store(tmp_path, mode):
    found = run_script(tmp_path / "script.py", STORE + OPEN, mode)
    assert found == [[0, 0], True, "ok"]


AGAIN = """
def fail(*args):
    raise AssertionError("something was computed")

streaming.engine_for = fail
np.save("again.npy", extractor(cache="cache").fit_transform(make_pictures(6)[0]))
print(json.dumps(cache_info("cache").rows))
"""


def test_a_new_process_finds_the_same_rows(tmp_path):
    # Keys must not depend on hash seeds, ids or the order of sets, which differ per process.
    features = extractor(cache=tmp_path / "cache").fit_transform(make_pictures(6)[0])
    assert run_script(tmp_path / "script.py", ESTIMATORS + AGAIN, PYTHONHASHSEED="7") == 6
    assert_array_equal(np.load(tmp_path / "again.npy"), features)


# Processes that run for a long time.


def resident():
    """Return the resident memory of this process in bytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def held():
    """Return the size of all live arrays, tensors and other objects in bytes.

    Unlike the memory of the process, it does not include the allocator's reserves for threads,
    which vary with the load of the machine.
    """
    gc.collect()
    storages = {}
    for tensor in (o for o in gc.get_objects() if issubclass(type(o), torch.Tensor)):
        # Other tests may have left tensors without memory: sparse ones, and those of torch.export.
        with contextlib.suppress(RuntimeError):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values()) + tracemalloc.get_traced_memory()[0]


@pytest.fixture
def traced():
    """Trace the allocations of NumPy and Python."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
def test_fits_leave_nothing_behind(tmp_path, pictures):
    X, y = pictures

    def fit(seed):
        model = classifier(unfreeze_depth=seed % 2, cache=tmp_path / "cache", random_state=seed)
        model.fit(X, y).predict(X)

    for seed in range(4):
        fit(seed)
    before = held()
    for seed in range(4, 14):
        fit(seed)
    assert held() - before < 10 * X.nbytes / 2  # less than half of the pictures per fit


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_fifty_fits_on_new_pictures_and_networks_do_not_grow(tmp_path):
    def fit(seed):
        X, y = make_pictures(24, seed=seed)
        model = classifier(
            weights=None, cache=tmp_path / "cache", random_state=seed, unfreeze_depth=seed % 3
        )
        model.fit(X, y).predict(X)

    for seed in range(10):
        fit(seed)
    before = resident()
    for seed in range(10, 60):
        fit(seed)
    assert resident() - before < 50_000_000


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="files are counted in /proc")
def test_twenty_fits_leave_no_file_open(tmp_path, pictures):
    model = classifier(cache=tmp_path / "cache").fit(*pictures)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        model.fit(*pictures).predict(pictures[0])
    assert len(os.listdir("/proc/self/fd")) <= before
