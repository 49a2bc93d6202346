"""Coarse tasks over threads."""

from collections import deque
from contextlib import contextmanager
from functools import cache, partial
from queue import SimpleQueue
from threading import Thread

from joblib import effective_n_jobs
from threadpoolctl import ThreadpoolController

from skopu._core.interrupts import Interrupts, restoring
from skopu._core.validation import openmp_threads


def count_threads(n_jobs):
    """Return the number of threads that ``n_jobs`` stands for.

    None: as many as OpenMP would use, so that OMP_NUM_THREADS, threadpoolctl and the workers of
    joblib have their say.
    """
    return openmp_threads() if n_jobs is None else effective_n_jobs(n_jobs)


def run_tasks(work, tasks, n_threads):
    """Divide tasks among threads.

    Parameters
    ----------
    work : callable
        Called once in each thread with an iterator over its tasks; a thread takes the next one
        when it is ready.
    tasks : iterable
    n_threads : int

    Notes
    -----
    On an error, or Ctrl-C, tasks not yet begun are left out.
    """
    tasks = deque(tasks)
    n_threads = min(n_threads, len(tasks))
    if n_threads <= 1:
        work(_take(tasks))
        return
    # Not a pool of concurrent.futures: Ctrl-C amid its lines, which are Python, keeps a lock of its
    # own taken that its threads then wait for, and the pool for them. What is waited at here, a
    # queue in C, is whole or untouched.
    outcomes = SimpleQueue()
    threads = [Thread(target=_report, args=(work, tasks, outcomes)) for _ in range(n_threads)]
    with Interrupts(one_at_a_time=True) as interrupts:
        try:
            with interrupts.held():
                for thread in threads:
                    thread.start()
            for _ in threads:
                if (error := outcomes.get()) is not None:
                    raise error
        finally:
            tasks.clear()
            with interrupts.held():
                for thread in threads:
                    if thread.ident is not None:  # the system may have refused to start it
                        thread.join()


def _report(work, tasks, outcomes):
    try:
        work(_take(tasks))
    except BaseException as error:  # handed to the thread that asked
        outcomes.put(error)
    else:
        outcomes.put(None)


def _take(tasks):
    while tasks:
        try:
            yield tasks.popleft()
        except IndexError:  # another thread was faster
            return


@contextmanager
def one_openmp_thread():
    """Keep OpenMP from dividing what this thread asks of it; other threads are not concerned."""
    import torch

    # torch sets up a thread's OpenMP at its first use, which would undo the limit.
    torch.get_num_threads()
    with restoring(partial(_openmp().limit, limits=1)):
        yield


@cache
def _openmp():
    return ThreadpoolController().select(user_api="openmp")
