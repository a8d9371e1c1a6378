"""Threads: as many as were asked for, in every library that multiplies."""

from __future__ import annotations

import threadpoolctl
import torch

from rnnctl.tasks.machine import set_threads


def blas_threads() -> set[int]:
    return {
        pool["num_threads"]
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas"
    }


def test_the_number_of_threads_holds_for_torch_and_numpy() -> None:
    before = torch.get_num_threads()
    with threadpoolctl.threadpool_limits():
        try:
            assert set_threads(1) == 1
            assert blas_threads() <= {1}
            assert set_threads(None) == 1
        finally:
            torch.set_num_threads(before)
