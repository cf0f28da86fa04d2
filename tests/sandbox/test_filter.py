"""The filters of all modes on both machines: every call that the kernel has, and many that it has not."""

from __future__ import annotations

import itertools
import random

import pytest

from llamafile.sandbox import filters, policy
from tests.sandbox.bpf import ALLOW, AUDIT, ENOSYS, EPERM, Program, numbers

MODES = ("server", "cli", "chat", "combined", "broker")
MACHINES = ("x86_64", "aarch64")
PROCESS = 4711

# The oracle, by effect. What may always be called, since it touches nothing but the process itself and what it holds:
HARMLESS = """
    read write readv writev pread64 pwrite64 preadv pwritev lseek fstat ftruncate fsync fdatasync fadvise64 close
    dup dup2 dup3 poll ppoll select pselect6 recvfrom recvmsg shutdown
    futex set_robust_list rseq set_tid_address membarrier sched_yield sched_getaffinity getcpu exit exit_group
    munmap mremap madvise brk
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait sigaltstack restart_syscall
    getpid gettid getppid getpgid getpgrp getsid getuid geteuid getgid getegid uname sysinfo getrandom getcwd wait4
    clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getrusage getrlimit
""".split()  # noqa: SIM905
SERVES = "accept accept4 epoll_wait epoll_pwait epoll_pwait2 epoll_ctl getsockname getpeername getsockopt".split()  # noqa: SIM905
OPENS = """
    open openat rename renameat renameat2 unlink unlinkat stat lstat newfstatat getdents64 fchmod readlink readlinkat
    sendmsg
""".split()  # noqa: SIM905

PROT_EXEC, MAP_ANONYMOUS, CLONE_THREAD, AT_EMPTY_PATH, MSG_FASTOPEN = 4, 0x20, 0x10000, 0x1000, 0x20000000
GLIBC_THREAD, MUSL_THREAD = 0x3D0F00, 0x7D0F00
TIOCSTI, TIOCLINUX, FIONREAD, FIONBIO = 0x5412, 0x541C, 0x541B, 0x5421
TCGETS, TCSETSF, TIOCGWINSZ = 0x5401, 0x5404, 0x5413
IOCTL_ANYWHERE = {FIONREAD, FIONBIO, 0x5450, 0x5451, TCGETS, 0x802C542A, TIOCGWINSZ}
IOCTL_TERMINAL = {0x5402, 0x5403, TCSETSF, 0x402C542B, 0x402C542C, 0x402C542D, 0x540B, 0x540F}
F_SETOWN, F_SETSIG, F_NOTIFY = 8, 10, 1026


def low(value):
    return value & 0xFFFFFFFF


def expected(mode, name, a):
    """What must become of a call by name in a mode, with six arguments; an independent statement of the policy."""
    serves, terminal, broker = mode in ("server", "combined"), mode not in ("server",), mode == "broker"
    conditions = {
        "mmap": low(a[2]) & PROT_EXEC == 0 and low(a[3]) & MAP_ANONYMOUS != 0,
        "mprotect": low(a[2]) & PROT_EXEC == 0,
        "sendto": a[4] == 0 and low(a[3]) & MSG_FASTOPEN == 0,
        "sendmsg": broker or (serves and low(a[2]) & MSG_FASTOPEN == 0),
        "clone": not broker and low(a[0]) & CLONE_THREAD != 0 and low(a[0]) | MUSL_THREAD == MUSL_THREAD,
        "newfstatat": broker or low(a[3]) == AT_EMPTY_PATH,
        "fcntl": low(a[1]) in (0, 1, 2, 3, 4, 1030),
        "ioctl": low(a[1]) in IOCTL_ANYWHERE or (terminal and low(a[1]) in IOCTL_TERMINAL),
        "setsockopt": serves and (low(a[1]), low(a[2])) in {
            *((1, option) for option in (2, 7, 8, 9, 13)), *((6, option) for option in (1, 3, 4, 5, 6, 12, 18))},
        "prctl": low(a[0]) in (15, 16, 0x53564D41),
        "kill": low(a[0]) == PROCESS,
        "tgkill": low(a[0]) == PROCESS,
        "prlimit64": low(a[0]) in (0, PROCESS) and a[2] == 0,
    }
    if name == "clone3":
        return ENOSYS
    if name in conditions:
        return ALLOW if conditions[name] else EPERM
    allowed = name in HARMLESS or (serves and name in SERVES) or (broker and name in OPENS)
    return ALLOW if allowed else EPERM


# Values of each argument that decide something somewhere; all six positions get them, and random ones besides.
VALUES = [
    0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 12, 13, 15, 16, 18, 29, PROT_EXEC, MAP_ANONYMOUS, MAP_ANONYMOUS | 2, PROCESS,
    PROCESS + 1, -1, -PROCESS, CLONE_THREAD, GLIBC_THREAD, MUSL_THREAD, GLIBC_THREAD | 0x20000000,
    GLIBC_THREAD | 0x2000,
    0x01200011, AT_EMPTY_PATH, AT_EMPTY_PATH | 0x100, MSG_FASTOPEN, 0x4000, *IOCTL_ANYWHERE, *IOCTL_TERMINAL, TIOCSTI,
    TIOCLINUX, F_SETOWN, F_SETSIG, F_NOTIFY, 1030, 0x53564D41, 38, 1 << 32, (1 << 32) | PROT_EXEC, (1 << 32) | PROCESS,
    0x7FFF12345678,
]


def cases():
    """Six arguments at a time: each interesting value in each place, pairs in neighbouring places, and random ones."""
    chance = random.Random(1)
    yield from ((0,) * at + (value,) + (0,) * (5 - at) for at in range(6) for value in VALUES)
    for first, second in chance.sample(list(itertools.product(VALUES, VALUES)), 200):
        yield (0, first, second, 0, 0, 0)
        yield (0, 0, second, first, 0, 0)
    for first, second in itertools.product((0, MSG_FASTOPEN, 0x4000), (0, 1, 1 << 32)):
        yield (5, 0, 0, first, second, 0)
    for _ in range(150):
        yield tuple(chance.choice(VALUES) for _ in range(6))


CASES = list(cases())
CONDITIONAL = {row[0] for row in policy.CHECKED}


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_the_kernels(machine):
    known, column = numbers(machine), MACHINES.index(machine)
    for name, *here in [row[:3] for table in (policy.PLAIN, policy.CHECKED, policy.UNKNOWN) for row in table]:
        assert known.get(name) == here[column], name


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("mode", MODES)
def test_every_call(mode, machine):
    program, known = Program(filters.program(mode, machine, PROCESS)), numbers(machine)
    names = {number: name for name, number in known.items()}
    seen = set()
    for number in range(1200):
        name = names.get(number, "?")
        for arguments in CASES if name in CONDITIONAL else CASES[:80:5]:
            result = program.run(number, arguments, AUDIT[machine])
            assert result == expected(mode, name, arguments), (name, number, arguments)
            seen.add((name in CONDITIONAL, result))
    assert {(True, ALLOW), (True, EPERM), (False, ALLOW), (False, EPERM), (False, ENOSYS)} <= seen


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("mode", MODES)
def test_other_interfaces_and_numbers_out_of_range(mode, machine):
    program, known = Program(filters.program(mode, machine, PROCESS)), numbers(machine)
    reads = known["read"]
    assert program.run(reads, (0,), AUDIT[machine]) == ALLOW
    for architecture in {0, 0xFFFFFFFF, *AUDIT.values()} - {AUDIT[machine]}:
        assert {program.run(number, (0,) * 6, architecture) for number in range(500)} == {EPERM}
    chance = random.Random(2)
    beyond = [0x40000000 + number for number in range(600)] + [chance.randrange(1200, 1 << 32) for _ in range(2000)]
    assert {program.run(number, (0,) * 6, AUDIT[machine]) for number in [*beyond, 0xFFFFFFFF]} == {EPERM}


def test_what_a_hijacked_process_would_want_first():
    """Spelled out, so that a row too many is seen: none of these in any mode but the broker's, and few there."""
    wanted = """open openat openat2 creat socket socketpair connect bind listen execve execveat fork vfork ptrace
        process_vm_readv process_vm_writev io_uring_setup io_uring_enter io_uring_register bpf unshare setns mount
        umount2 chroot pivot_root memfd_create userfaultfd perf_event_open keyctl add_key request_key kexec_load
        init_module finit_module open_by_handle_at name_to_handle_at pidfd_open pidfd_getfd pidfd_send_signal tkill
        rt_sigqueueinfo rt_tgsigqueueinfo unlink unlinkat rename renameat renameat2 mkdir mkdirat rmdir link linkat
        symlink symlinkat chmod fchmod fchmodat fchmodat2 chown fchown fchownat truncate mknod mknodat setxattr
        fsetxattr utimensat shmget shmat msgget semget mq_open inotify_init inotify_add_watch fanotify_init quotactl
        syslog reboot sethostname setuid setgid setresuid setgroups capset personality seccomp landlock_restrict_self
        pkey_mprotect remap_file_pages process_madvise process_mrelease vmsplice splice tee sendfile copy_file_range
        stat lstat statx access faccessat faccessat2 readlink readlinkat getdents64 chdir fchdir pipe2 sendmmsg
        arch_prctl modify_ldt iopl ioperm swapon acct nfsservctl move_pages migrate_pages mbind set_mempolicy
        kcmp fsopen fsmount move_mount open_tree mount_setattr timer_create setpriority sched_setscheduler""".split()  # noqa: SIM905
    for machine in MACHINES:
        known = numbers(machine)
        for mode in MODES:
            program = Program(filters.program(mode, machine, PROCESS))
            passed = {name for name in wanted if name in known
                      and program.run(known[name], (0,) * 6, AUDIT[machine]) == ALLOW}
            assert passed <= (set(OPENS) if mode == "broker" else set()), (machine, mode)
