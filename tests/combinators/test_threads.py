"""with_threads matches its layer for all batch types and runs it in several threads."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet.combinators.parallel import _cuts
from combinet.ops.blas import threads as module
from combinet.ops.blas.threads import BLAS, run_concurrently
from combinet.optimizers import base, spans
from helpers.arrays import floats, ids, listed, padded, ragged
from helpers.errors import raises
from helpers.models import pending_gradients

SEED = 3
SECONDS = 30.0  # timeout for waiting threads


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def flat(batch: Any) -> Any:
    """All numbers of a batch, and the lengths or shapes of its items."""
    if isinstance(batch, list):
        return [np.concatenate([np.ravel(x) for x in batch]), [x.shape for x in batch]]
    if isinstance(batch, cb.Ragged):
        return [batch.data, batch.lengths]
    return [batch, None]


def same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    (numbers, lengths), (known, divided) = flat(found), flat(expected)
    close(numbers, known)
    assert np.array_equal(lengths, divided)


def _window() -> Any:
    return cb.expand_window(1) >> cb.Maxout(4, 9) >> cb.LayerNorm()


FORMS: dict[str, tuple[Callable[[], Any], Any]] = {
    "list to list": (lambda: cb.with_flatten(_window()), listed(3, 0, 2, 4, 1)),
    "list to array": (lambda: cb.list2ragged() >> cb.reduce_max() >> cb.Linear(2), listed(3, 2, 4)),
    "list to Ragged": (cb.list2ragged, listed(3, 1)),
    "Ragged to Ragged": (lambda: cb.with_array(_window()), ragged(3, 0, 1, 5)),
    "Ragged to array": (cb.reduce_mean, ragged(3, 1, 5)),
    "rows": (lambda: cb.Relu(5, 3) >> cb.Linear(2), floats(7, 3)),
    "documents without lengths": (lambda: cb.strings2arrays() >> cb.with_flatten(
        cb.HashEmbed(2, 9, column=0)), [["a", "b"], [], ["c"]]),
}  # fmt: skip


@pytest.mark.parametrize("threads", [2, 3, 16])
@pytest.mark.parametrize("form", FORMS)
def test_with_threads_matches_its_layer(form: str, threads: int) -> None:
    make, X = FORMS[form]
    layer = make().initialize(X, rng=SEED, dtype="float64")
    model = cb.with_threads(layer.copy(), threads)
    results = []
    for each in (layer, model):
        Y, backprop = each.begin_update(X)
        dY = cb.noop().predict(Y)
        results.append((Y, backprop(dY), each.predict(X), pending_gradients(each)))
    (Y, dX, predicted, expected), (Y2, dX2, predicted2, found) = results
    same(Y2, Y)
    same(predicted2, predicted)
    assert (dX2 is None) == (dX is None)
    if dX is not None:
        same(dX2, dX)
    for gradient, other in zip(found, expected, strict=True):
        close(gradient, other)


@pytest.mark.parametrize("threads", [2, 3, 9])
def test_batch_inside_a_wrapper_is_split_between_sequences(threads: int) -> None:
    layer = _window().initialize(floats(2, 3), rng=SEED, dtype="float64")
    X = listed(3, 1, 2, 0, 4)
    same(
        cb.with_flatten(cb.with_threads(layer, threads)).predict(X),
        cb.with_flatten(layer).predict(X),
    )


def test_wants_dX_reaches_the_layer_in_threads() -> None:
    wanted = []

    def look(model: Any, X: Any, run: Any) -> Any:
        wanted.append(run.wants_dX)
        return X, lambda dY: dY

    model = cb.with_threads(cb.Model("look", look), 2)
    model.begin_update(floats(4, 3), wants_dX=False)
    assert wanted == [False, False]


@pytest.mark.parametrize(
    "sizes", [[5], [1, 1], [1, 1000], [1000, 1, 1], [0, 0, 0], [3] * 64, [10] * 6 + [1] * 54]
)
@pytest.mark.parametrize("parts", [2, 3, 8])
def test_batch_parts_are_ordered_nonempty_and_balanced(sizes: list[int], parts: int) -> None:
    parts = min(parts, len(sizes))
    cuts = _cuts(np.array(sizes), parts)
    assert cuts[0] == 0
    assert cuts[-1] == len(sizes)
    assert (np.diff(cuts) > 0).all()
    assert min(parts, 2) <= len(cuts) - 1 <= parts
    work = [sum(sizes[a:b]) + b - a for a, b in pairwise(cuts)]
    assert max(work) <= sum(work) / parts + max(sizes) + 1  # a cut is at most half an item off


# -- threads --------------------------------------------------------------------------------------


def _meeting(parties: int) -> Any:
    """A layer whose forward and backward passes each wait until `parties` threads run them."""
    forth, back = (threading.Barrier(parties, timeout=SECONDS) for _ in range(2))

    def meet(model: Any, X: Any, run: Any) -> Any:
        forth.wait()

        def backprop(dY: Any) -> Any:
            back.wait()
            return dY

        return X, backprop

    return cb.Model("meet", meet)


def test_parts_run_at_the_same_time() -> None:
    X = floats(4, 3)
    Y, backprop = cb.with_threads(_meeting(2), 2).begin_update(X)
    close(Y, X)
    close(backprop(X), X)


def _threads() -> tuple[Any, list[threading.Thread]]:
    seen: list[threading.Thread] = []
    look = cb.with_debug(cb.noop(), on_forward=lambda *_: seen.append(threading.current_thread()))
    return look, seen


@pytest.mark.parametrize("X", [floats(1, 3), floats(0, 3), listed(4), []])
def test_single_item_runs_in_the_calling_thread(X: Any) -> None:
    look, seen = _threads()
    same(cb.with_threads(look, 2).predict(X), X) if len(X) else cb.with_threads(look, 2).predict(X)
    assert seen == [threading.current_thread()]


def _count_jobs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that receives the number of jobs each time an update distributes jobs."""
    shared: list[int] = []

    def counting(jobs: Any) -> Any:
        shared.append(len(jobs))
        return run_concurrently(jobs)

    for each in (base, spans):
        monkeypatch.setattr(each, "run_concurrently", counting)
    return shared


def test_number_of_parts_defaults_to_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("combinet.ops.numpy.processors", lambda: 3)
    look, seen = _threads()
    cb.with_threads(look).predict(floats(9, 3))
    assert len(seen) == 3


def test_batch_and_update_are_not_split_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cb.CupyOps.threads is cb.Ops.threads
    monkeypatch.setattr(cb.NumpyOps, "threads", cb.Ops.threads)
    look, seen = _threads()
    cb.with_threads(look, 3).predict(floats(9, 3))
    assert seen == [threading.current_thread()]
    monkeypatch.setattr(spans, "_WORTH", 1)
    shared = _count_jobs(monkeypatch)
    model = cb.Linear(5, 3).initialize()
    Y, backprop = model.begin_update(floats(6, 3).astype("float32"))
    backprop(Y, cb.Adam(threads=3))
    assert {*shared} == {1}


def test_nested_with_threads_splits_parts_again() -> None:
    look, seen = _threads()
    for _ in range(3):
        look = cb.with_threads(look, 3)
    X = floats(40, 3)
    close(look.predict(X), X)
    assert len(seen) == 27


@pytest.mark.parametrize("bad", [0, 1])
def test_error_in_one_part_is_raised_after_the_others_finish(bad: int) -> None:
    ended, failed, begun = [], threading.Event(), threading.Barrier(2, timeout=SECONDS)

    def fails(model: Any, X: Any, run: Any) -> Any:
        begun.wait()
        if X[0, 0] == bad:
            failed.set()
            raise cb.InputError("this one")
        assert failed.wait(SECONDS)
        time.sleep(0.2)  # a caller that does not wait would have returned by now
        ended.append(X)
        return X, lambda dY: dY

    model = cb.with_threads(cb.Model("fails", fails), 2) >> cb.noop()
    with raises(cb.InputError, "with_threads >> fails") as caught:
        model.predict(np.arange(2.0)[:, None])
    assert len(ended) == 1
    assert caught.value.__context__ is None


def test_one_of_several_errors_is_raised() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_concurrently([fail] * 5)
    assert run_concurrently([lambda: 1, lambda: 2]) == [1, 2]


@pytest.mark.parametrize("number", [1, 2, 3, 40])
def test_results_are_in_the_order_of_the_jobs(number: int) -> None:
    jobs = [lambda i=i: i for i in range(number)]
    assert run_concurrently(jobs) == [*range(number)]
    with_others = [lambda i=i: (i, run_concurrently(jobs)) for i in range(number)]
    assert run_concurrently(with_others) == [(i, [*range(number)]) for i in range(number)]


def test_calling_thread_runs_jobs_that_have_not_started() -> None:
    """One job waits for all others, so another thread must run them."""
    done = threading.Semaphore(0)

    def wait_for_all() -> bool:
        return all(done.acquire(timeout=SECONDS) for _ in range(8))

    assert run_concurrently([*[done.release] * 3, wait_for_all, *[done.release] * 5])[3]


def test_data_validation_applies_in_all_threads() -> None:
    meeting = threading.Barrier(2, timeout=SECONDS)

    def both(model: Any, X: Any, run: Any) -> Any:
        meeting.wait()
        return X, lambda dY: dY

    model, X = cb.with_threads(cb.Model("picky", both, accepts="floats2d"), 2), ids(5)
    with raises(cb.InputError, "picky", "int64"):
        model.predict(X)
    with cb.data_validation(False):
        assert model.predict(X).tolist() == X.tolist()


def test_forked_process_starts_its_own_threads() -> None:
    script = """
import os, threading
from combinet.ops.blas.threads import run_concurrently
def meet():
    both = threading.Barrier(2, timeout=20)
    return sorted(run_concurrently([both.wait] * 2)) == [0, 1]
assert meet()
child = os.fork()
if not child:
    os._exit(not meet())
assert os.waitpid(child, 0)[1] == 0
"""
    if not hasattr(module.os, "fork"):
        pytest.skip("there are no forks here")
    subprocess.run([sys.executable, "-c", script], check=True, timeout=SECONDS)


# -- dropout --------------------------------------------------------------------------------------


def test_dropout_masks_differ_between_parts_and_follow_the_seed() -> None:
    model = cb.with_threads(cb.Dropout(0.5), 2)
    X = np.ones((2, 200))

    def drawn(seed: int) -> Any:
        rng = np.random.default_rng(seed)
        return model.begin_update(X, rng=rng)[0], rng.random()

    (one, after), (again, after_again) = drawn(1), drawn(1)
    np.testing.assert_array_equal(one, again)
    assert after == after_again
    assert (one[0] != one[1]).any()
    assert (drawn(2)[0] != one).any()


def test_predict_draws_no_random_numbers() -> None:
    model = cb.with_threads(cb.Dropout(0.5), 2)
    before = model.rng.bit_generator.state
    close(model.predict(np.ones((4, 2))), np.ones((4, 2)))
    assert model.rng.bit_generator.state == before


def test_checkpointed_threads_repeat_their_masks() -> None:
    plain = cb.Maxout(4, 3) >> cb.Dropout(0.5) >> cb.Gelu(4)
    plain.initialize(rng=SEED, dtype="float64")
    model = cb.checkpointed(cb.with_threads(plain, 2))
    results = []
    for each in (model, model.layers[0]):
        Y, backprop = each.begin_update(floats(6, 3), rng=np.random.default_rng(SEED))
        results.append((Y, backprop(Y)))
    for found, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(found, expected)


# -- BLAS -----------------------------------------------------------------------------------------


def _blas_threads() -> list[int]:
    threadpoolctl = pytest.importorskip("threadpoolctl")
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info()
            if pool["user_api"] == "blas"]  # fmt: skip


def test_blas_has_one_thread_inside_with_threads() -> None:
    before = _blas_threads()
    if not before or BLAS.threads() == 1:
        pytest.skip("BLAS has one thread here, or threadpoolctl does not know it")
    assert max(before) > 1
    seen: list[Any] = []

    def look(model: Any, X: Any, run: Any) -> Any:
        seen.append((max(_blas_threads()), BLAS.threads()))
        if X[0, 0] == 3:
            raise cb.InputError("no")
        return X, lambda dY: seen.append((max(_blas_threads()), BLAS.threads()))

    model = cb.with_threads(cb.Model("look", look), 2)
    Y, backprop = model.begin_update(floats(4, 3))
    assert _blas_threads() == before
    backprop(Y)
    with pytest.raises(cb.InputError, match="no"):
        model.predict(np.full((2, 1), 3.0))
    assert {*seen} == {(1, 1)}
    assert _blas_threads() == before
    assert BLAS.threads() > 1


def test_concurrent_and_nested_blocks_limit_blas_once(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    class Controller:
        def limit(self, limits: int) -> Any:
            events.append(f"limit to {limits}")
            return self

        def restore_original_limits(self) -> None:
            events.append("restore")

    monkeypatch.setattr(module, "_controller", Controller)
    blas, inside = module.Blas(), threading.Barrier(2, timeout=SECONDS)

    def work() -> None:
        with blas.single_threaded_blas(), blas.single_threaded_blas():
            inside.wait()

    for _ in range(2):
        run_concurrently([work, work])
    assert events == ["limit to 1", "restore"] * 2


def test_outermost_block_restores_the_blas_threads() -> None:
    before = _blas_threads()
    with BLAS.single_threaded_blas():
        with BLAS.single_threaded_blas():
            pass
        assert max(_blas_threads(), default=1) == 1
    assert _blas_threads() == before


@pytest.mark.parametrize(
    ("given", "expected"),
    [({"OPENBLAS_NUM_THREADS": "5", "OMP_NUM_THREADS": "1"}, 5), ({"OMP_NUM_THREADS": "3"}, 3),
     ({"OPENBLAS_NUM_THREADS": "0"}, module.processors()), ({}, module.processors())],
)  # fmt: skip
def test_blas_threads_follow_the_environment_or_the_processors(
    given: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, given.get(name, ""))
    assert module._allowed.__wrapped__() == expected
    assert 1 <= module.processors() <= (module.os.cpu_count() or 1)


def test_blas_is_not_limited_without_threadpoolctl(monkeypatch: pytest.MonkeyPatch) -> None:
    before = BLAS.threads()
    monkeypatch.setattr(module, "_controller", lambda: None)
    with BLAS.single_threaded_blas():
        assert BLAS.threads() == before


# -- updates --------------------------------------------------------------------------------------

OPTIMIZERS: dict[str, Callable[..., cb.Optimizer]] = {
    "Adam": cb.Adam,
    "AdamW": cb.AdamW,
    "RAdam": cb.RAdam,
    "Lion": cb.Lion,
    "SGD": lambda **options: cb.SGD(0.1, momentum=0.9, L2=0.1, **options),
    "Lookahead": lambda **options: cb.Lookahead(cb.Adam(**options), k=2),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_update_does_not_depend_on_the_number_of_threads(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "_WORTH", 7)
    shared = _count_jobs(monkeypatch)
    results = []
    for threads in (1, 3):
        model, sgd = cb.Maxout(5, 3).initialize(rng=SEED), OPTIMIZERS[kind](threads=threads)
        for step in range(4):
            Y, backprop = model.begin_update(floats(6, 3, seed=step).astype("float32"))
            backprop(Y, sgd)
        results.append([model.get_param("W"), model.get_param("b"), *model.averages.values()])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert max(shared) == 3


@pytest.mark.parametrize(("size", "number"), [(1, 4), (13, 1), (14, 2), (100, 3), (100, 99)])
def test_span_parts_cover_the_span(size: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "_WORTH", 7)
    store: Any = None  # not used to compute the parts
    parts = spans.Span(store, 0, 1, 0, size).parts(number)
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == size
    assert len(parts) == min(number, max(size // 7, 1))
    assert size == 1 or min(part.stop - part.start for part in parts) >= 7


# -- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (padded(2, 1), "Padded"),
        ((floats(2, 3), floats(2, 3)), "tuple"),
        (np.array(1.0), "float64 ... ()"),
        ("a b", "str"),
    ],
)
def test_unsupported_batch_types_fail(X: Any, words: str) -> None:
    with raises(cb.InputError, "with_threads", words):
        cb.with_threads(cb.noop()).predict(X)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (cb.tuplify(cb.noop(), cb.noop()), "tuple"),
        (cb.array_getitem(slice(1)), "float64 ... (1, 3)"),
        (cb.layerize(lambda X: (X.sum(), None)), "float64"),
    ],
)
def test_outputs_that_cannot_be_joined_fail(layer: Any, words: str) -> None:
    with raises(cb.InputError, "with_threads", words):
        cb.with_threads(layer, 2).predict(floats(6, 3))


@pytest.mark.parametrize("threads", [0, -1])
def test_number_of_threads_must_be_positive(threads: int) -> None:
    with raises(cb.InputError, "threads", threads):
        cb.with_threads(cb.noop(), threads)
    with raises(cb.InputError, "Adam", threads):
        cb.Adam(threads=threads)


def test_adafactor_fails_with_several_threads() -> None:
    with raises(cb.InputError, "Adafactor"):
        cb.Adafactor(threads=2)


def test_ids_have_no_gradient() -> None:
    model = cb.with_threads(cb.Embed(2, 7).initialize(), 2)
    Y, backprop = model.begin_update(ids(5))
    assert backprop(Y) is None
