"""What cards the drivers of this machine show, asked without any toolkit: names, architectures, memory."""

from __future__ import annotations

import os
import platform
import sys

from gpu_modules import GpuFault, NoDriver

KFD = "/sys/class/kfd/kfd/topology/nodes"
NVIDIA_VERSION = "/proc/driver/nvidia/version"
_MAJOR, _MINOR = 75, 76  # CUdevice_attribute: the two halves of the compute capability
_NO_DEVICE = 100


class Seen:
    """A card as its driver shows it; memory in bytes."""

    __slots__ = ("architecture", "memory", "name")

    def __init__(self, name, architecture, memory):
        self.name, self.architecture, self.memory = name, architecture, memory

    def __repr__(self):
        return f"{self.name}, {self.architecture}, {self.memory >> 20} MiB"


def nvidia(environment=os.environ):
    """The NVIDIA cards; raises GpuFault where there is no driver or no card."""
    import ctypes

    if environment.get("CUDA_PATH") == "":
        raise GpuFault("CUDA_PATH is empty, which switches CUDA off; unset it")
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise NoDriver("no NVIDIA driver (libcuda.so.1 is not installed); install the driver of the card") from None
    status = driver.cuInit(0)
    count = ctypes.c_int()
    if status == _NO_DEVICE or (not status and not driver.cuDeviceGetCount(ctypes.byref(count)) and not count.value):
        raise GpuFault("the NVIDIA driver shows no card; see nvidia-smi and CUDA_VISIBLE_DEVICES")
    if status:
        raise GpuFault(f"the NVIDIA driver does not start ({_cuda_error(driver, status)}); see nvidia-smi")
    return [_cuda_card(driver, i) for i in range(count.value)]


def _cuda_error(driver, status):
    import ctypes

    text = ctypes.c_char_p()
    driver.cuGetErrorString(status, ctypes.byref(text))
    return f"error {status}" + (f", {text.value.decode(errors='replace')}" if text.value else "")


def _cuda_card(driver, index):
    import ctypes

    device, name, size = ctypes.c_int(), ctypes.create_string_buffer(96), ctypes.c_size_t()
    numbers = []
    driver.cuDeviceGet(ctypes.byref(device), index)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(size), device)
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        if driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device):
            raise GpuFault(f"the NVIDIA driver does not tell the compute capability of card {index}; see nvidia-smi")
        numbers.append(value.value)
    return Seen(name.value.decode(errors="replace"), f"sm_{numbers[0]}{numbers[1]}", size.value)


def amd(environment=os.environ, nodes=KFD):
    """The AMD cards that ROCm can use; raises GpuFault where there is no driver or no card."""
    try:
        folders = sorted(os.listdir(nodes), key=lambda name: int(name) if name.isdecimal() else -1)
    except OSError:
        raise NoDriver("no AMD compute driver (/dev/kfd); install amdgpu with ROCm support") from None
    cards = [card for folder in folders if (card := _kfd_card(os.path.join(nodes, folder)))]
    chosen = environment.get("HIP_VISIBLE_DEVICES")
    if chosen is not None:
        wanted = [word.strip() for word in chosen.split(",")]
        cards = [cards[int(word)] for word in wanted if word.isdecimal() and int(word) < len(cards)]
    if not cards:
        raise GpuFault("the AMD driver shows no card; see rocminfo and HIP_VISIBLE_DEVICES")
    return cards


def _kfd_card(folder):
    """The card of a node of the topology; None for a node that is a processor or cannot be read."""
    facts = _pairs(os.path.join(folder, "properties"))
    number = facts.get("gfx_target_version", 0)
    if not facts.get("simd_count") or not number:
        return None
    banks, memory = os.path.join(folder, "mem_banks"), 0
    try:
        for bank in os.listdir(banks):
            memory += _pairs(os.path.join(banks, bank, "properties")).get("size_in_bytes", 0)
        with open(os.path.join(folder, "name")) as file:
            name = file.read().strip()
    except OSError:
        name = ""
    arch = f"gfx{number // 10000}{number // 100 % 100}{number % 100:x}"
    return Seen(name or "AMD card", arch, memory)


def _pairs(path):
    """The lines `name number` of a file; {} where it cannot be read."""
    try:
        with open(path) as file:
            lines = [line.split() for line in file]
    except OSError:
        return {}
    return {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdecimal()}


def apple(environment=os.environ):
    """The GPU of a Mac with Apple silicon; raises GpuFault elsewhere."""
    if sys.platform != "darwin" or platform.machine() != "arm64":
        raise NoDriver("no Apple silicon")
    return [Seen("Apple GPU", "apple", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))]


def emulated(environment=os.environ):
    """Cards that exist only in the memory of this machine: LF_EMULATED_DEVICES of them."""
    count = int(environment.get("LF_EMULATED_DEVICES", "1"))
    return [Seen("Emulated card", platform.machine(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))] * count


def version(kind):
    """What changes when another driver is installed: a text, empty where nobody tells."""
    for path in {"cuda": (NVIDIA_VERSION,), "hip": ("/sys/module/amdgpu/version",)}.get(kind, ()):
        try:
            with open(path) as file:
                return file.readline().strip()
        except OSError:
            continue
    return os.uname().release
