"""torch.compile: chosen where it pays, equal to PyTorch, abandoned when it fails."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from unet2015.checkpoint import Model
from unet2015.engines import backends, device
from unet2015.engines.backends import WithFallback, can_compile, runner
from unet2015.engines.device import (
    COMPILING_PAYS,
    COMPILING_PAYS_ON_GPU,
    Engine,
    choose_backend,
    choose_engine,
)
from unet2015.errors import InputError
from unet2015.prediction import predict
from unet2015.unet import UNet

CPU = Engine(torch.device("cpu"))
BFLOAT16 = Engine(torch.device("cpu"), torch.bfloat16)
LARGE = int(COMPILING_PAYS)
AMX, AVX512 = "_is_amx_tile_supported", "_is_avx512_bf16_supported"
has_bfloat16 = device._has_bfloat16  # before `float32_unless_asked` replaces it


@pytest.fixture
def without_openvino(monkeypatch):
    monkeypatch.setattr(device.openvino_engine, "is_installed", lambda: False)


@pytest.mark.usefixtures("without_openvino")
def test_large_jobs_are_compiled_in_bfloat16_with_amx(monkeypatch):
    monkeypatch.setattr(device, "can_compile", lambda _device: True)
    monkeypatch.setattr(torch.cpu, AMX, lambda: False, raising=False)
    assert choose_backend(BFLOAT16, "auto", LARGE).backend == "torch", "AVX-512 gains nothing"
    monkeypatch.setattr(torch.cpu, AMX, lambda: True, raising=False)
    assert choose_backend(BFLOAT16, "auto", LARGE).backend == "compile"
    assert choose_backend(BFLOAT16, "auto", LARGE - 1).backend == "torch"
    assert choose_backend(CPU, "auto", LARGE).backend == "torch", "in float32 it gains nothing"
    assert choose_backend(CPU, "compile", 1).backend == "compile"
    assert choose_backend(BFLOAT16, "auto", LARGE // 16, base_channels=64).backend == "compile"
    monkeypatch.setattr(device, "can_compile", lambda _device: False)
    assert choose_backend(BFLOAT16, "auto", LARGE).backend == "torch"
    with pytest.raises(InputError, match="needs a C\\+\\+ compiler"):
        choose_backend(CPU, "compile", 1)


@pytest.mark.parametrize("names", [("gpu",), ("cuda:0",), ("mps",), ("cpu", "float16")])
def test_unknown_devices_and_precisions_are_refused(names):
    with pytest.raises(InputError, match=f"unknown [a-z]+ '{names[-1]}': choose one of auto, "):
        choose_engine(*names)
    with pytest.raises(InputError, match="unknown average 'turned': choose one of none, mirrored"):
        choose_engine(average="turned")
    with pytest.raises(InputError, match="unknown backend 'foo'"):
        choose_backend(CPU, "foo", 1)


def test_small_jobs_do_not_import_openvino(monkeypatch):
    monkeypatch.setattr(device.openvino_engine, "is_installed", lambda: pytest.fail("imported"))
    assert choose_backend(CPU, "auto", 10**6).backend == "torch"


def test_compiling_pays_only_for_larger_jobs_on_a_gpu(monkeypatch):
    monkeypatch.setattr(device, "can_compile", lambda _device: True)
    gpu = Engine(torch.device("cuda"), torch.bfloat16)
    assert not gpu.compiling_pays(LARGE, 16)
    assert gpu.compiling_pays(int(COMPILING_PAYS_ON_GPU), 16)
    assert gpu.compiling_pays(int(COMPILING_PAYS_ON_GPU) // 16, 64)


@pytest.mark.parametrize("amx", [False, True])
@pytest.mark.parametrize("avx512", [False, True])
def test_bfloat16_is_chosen_if_the_cpu_supports_it(monkeypatch, amx, avx512):
    monkeypatch.setattr(device, "_has_bfloat16", has_bfloat16)
    monkeypatch.setattr(torch.cpu, AMX, lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, AVX512, lambda: avx512, raising=False)
    chosen = "bfloat16" if amx or avx512 else "float32"
    assert choose_engine("cpu").precision == chosen
    assert choose_engine("cpu", "float32").precision == "float32"


def test_float32_is_chosen_if_bfloat16_support_is_unknown(monkeypatch):
    monkeypatch.setattr(device, "_has_bfloat16", has_bfloat16)
    for name in (AMX, AVX512):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert choose_engine("cpu").precision == "float32"


def test_float32_on_a_gpu_disables_tf32(monkeypatch):
    class Network:
        def to(self, *_, **__):
            return self

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    Engine(torch.device("cuda"), torch.bfloat16).place(Network())
    assert torch.backends.cudnn.allow_tf32
    Engine(torch.device("cuda")).place(Network())
    assert not torch.backends.cudnn.allow_tf32


def test_compiling_needs_triton_on_gpus_and_a_compiler_on_cpus(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert not can_compile(torch.device("cuda"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name == "triton" else None)
    assert can_compile(torch.device("cuda"))
    monkeypatch.setenv("CXX", "mine++")
    for installed in ("mine++", "g++", "clang++", "cl"):
        monkeypatch.setattr("shutil.which", {installed: "found"}.get)
        assert can_compile(torch.device("cpu")), installed
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert not can_compile(torch.device("cpu"))


@pytest.mark.parametrize(
    ("engine", "training", "is_last"),
    [
        (CPU, False, True),
        (CPU, True, False),
        (BFLOAT16, True, True),
        (Engine(torch.device("cuda")), True, True),
        (CPU._replace(backend="nnpack"), False, False),
    ],
)
def test_maps_have_their_channels_last_except_where_that_is_slower(engine, training, is_last):
    expected = torch.channels_last if is_last else torch.contiguous_format
    assert engine.memory_format(training) == expected


@pytest.mark.skipif(not can_compile(CPU.device), reason="no C++ compiler")
def test_compiled_networks_predict_the_same(caplog):
    caplog.set_level("WARNING")
    torch.manual_seed(0)
    model = Model(UNet(base_channels=2, depth=1).eval(), "standard")
    image = np.random.default_rng(0).integers(0, 255, (60, 70), dtype=np.uint8)
    found = predict(image, model, tile=52, engine=CPU._replace(backend="compile"))
    names = [record.name for record in caplog.records]
    assert "unet2015.engines.backends" not in names, "nothing failed"
    np.testing.assert_allclose(found, predict(image, model, tile=52, engine=CPU), atol=1e-5)


def test_the_plain_network_runs_after_the_first_failure(caplog):
    calls = []

    def fast(image):
        calls.append(image)
        raise RuntimeError("no such instruction\nand much more")

    run = WithFallback(fast, nn.Identity(), "the fast way")
    for _ in range(2):
        assert run(torch.ones(3)).sum() == 3
    assert len(calls) == 1
    assert caplog.messages == [
        "the fast way failed (no such instruction and much more): continuing without it."
    ]


def test_only_the_errors_of_long_compiler_output_are_logged(caplog):
    def fast(_image):
        command = "g++ " + "-I/usr/include/torch " * 99
        raise RuntimeError(
            f"C++ compile error:\n{command}\na.cpp:1:10: fatal error: no header\n1 |"
        )

    WithFallback(fast, nn.Identity(), "the fast way")(torch.ones(3))
    assert "(C++ compile error: a.cpp:1:10: fatal error: no header 1 |):" in caplog.messages[0]


@pytest.mark.parametrize(
    ("message", "told"), [("", "(RuntimeError)"), ("g++ " + "-I/usr " * 99, "(g++ -I/usr -I/usr ")]
)
def test_a_failure_has_a_reason_of_one_short_line(caplog, message, told):
    def fast(_image):
        raise RuntimeError(message)

    WithFallback(fast, nn.Identity(), "the fast way")(torch.ones(3))
    assert told in caplog.messages[0]
    assert len(caplog.messages[0]) < 400


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("out of memory"), InputError("bad.")])
def test_the_backward_pass_does_not_fall_back_for_errors_that_stay(error, caplog):
    run = WithFallback(nn.Identity(), nn.Identity(), "the fast way")
    assert not run.fall_back(error)
    assert not caplog.messages
    assert run.fall_back(ValueError("of the backend"))


def test_threads_that_fail_together_all_fall_back(caplog):
    together = threading.Barrier(3)

    def fast(_image):
        together.wait()
        raise RuntimeError("no such instruction")

    run = WithFallback(fast, nn.Identity(), "the fast way")
    with ThreadPoolExecutor(3) as threads:
        assert [float(one) for one in threads.map(run, torch.ones(3))] == [1, 1, 1]
    assert len(caplog.messages) >= 1


def test_an_error_after_the_fallback_is_not_blamed_on_the_backend(caplog):
    run = WithFallback(lambda _: 1 / 0, nn.Identity(), "the fast way")
    run(torch.ones(3))
    assert not run.fall_back(ValueError("of the network itself"))
    assert len(caplog.messages) == 1


def test_running_out_of_memory_does_not_trigger_the_fallback(caplog):
    def fast(_image):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    run = WithFallback(fast, nn.Identity(), "the fast way")
    with pytest.raises(torch.OutOfMemoryError):
        run(torch.ones(3))
    assert not caplog.messages


def test_input_errors_are_not_blamed_on_the_backend(caplog):
    network = UNet(base_channels=1, depth=1)
    run = WithFallback(network.forward, network, "the fast way")
    with pytest.raises(InputError, match="valid sizes"):
        run(torch.zeros(1, 1, 33, 33))
    assert not caplog.messages


def test_a_job_in_batches_is_compiled_once(monkeypatch):
    made = []
    monkeypatch.setattr(
        backends.torch, "compile", lambda n, dynamic: made.append((n, dynamic)) or n
    )
    network = UNet(base_channels=1, depth=1)
    assert runner(network, torch.float32, "compile") is runner(network, torch.float32, "compile")
    assert made == [(network, False)]


def test_threads_place_a_network_one_after_the_other():
    class Placed(nn.Conv2d):
        placing = 0

        def to(self, *arguments, **named):
            assert self.placing == 0
            self.placing += 1
            time.sleep(0.01)
            self.placing -= 1
            return super().to(*arguments, **named)

    network, engine = Placed(1, 2, 3), choose_engine("cpu", "float32")
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(engine.place, [network] * 3)) == [network] * 3
