"""Time of a network by kind of operation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

KINDS = {
    "convolution backward": ("convolution_backward",),
    "convolution": ("convolution", "conv_transpose"),
    "pooling": ("max_pool",),
    "ReLU": ("relu", "clamp_min", "threshold"),
    "concatenation": ("cat", "slice_backward"),
    "soft-max and loss": ("softmax", "nll_loss"),
    "layout": ("copy", "reorder", "contiguous"),
}
"""Parts of operators' names; the first matching kind counts."""


def shares(work: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Share of each kind of operation in the time of `work`, largest first.

    On a GPU, the time of an operator is that of the kernels it launches. Time outside PyTorch's
    operators is not counted.
    """
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as found:
        work()
    times: Counter[str] = Counter()
    for event in found.key_averages():
        if event.device_type != DeviceType.CPU:
            continue  # a kernel, counted with its operator
        spent = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        times[_kind(event.key)] += spent
    total = sum(times.values()) or 1
    return {kind: round(spent / total, 3) for kind, spent in times.most_common()}


def _kind(operator: str) -> str:
    name = operator.lower()
    fitting = (kind for kind, parts in KINDS.items() if any(part in name for part in parts))
    return next(fitting, "other")
