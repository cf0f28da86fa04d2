"""Which system calls each mode may still make once the door is closed, and with which arguments: data, no code."""

from __future__ import annotations

# Modes; a row names those that it holds for, one letter each.
SERVER, CLI, CHAT, BROKER = "s", "c", "t", "b"
MODES = {"server": SERVER, "cli": CLI, "chat": CHAT, "combined": SERVER + CHAT, "broker": BROKER}
ALL, SOCKETS, TERMINAL, NOT_BROKER = "sctb", "s", "ctb", "sct"

# What is asked of an argument: its low word is one of these values; its low word under a mask is this value; it is a
# null pointer. Of all arguments here but pointers the kernel itself looks at nothing but the low word.
ONE_OF, MASKED, ZERO = "one of", "masked", "zero"
SELF = -1  # stands for the process's own id

# struct seccomp_data's `arch`, and the number from which on x86-64 numbers mean the x32 interface.
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32 = 0x40000000

_PROT_EXEC, _MAP_ANONYMOUS = 4, 0x20
# What pthread_create asks clone for; musl adds the bit that has meant nothing since Linux 2.6.2.
_THREAD = 0x10000
_THREAD_FLAGS = 0x003D0F00 | 0x00400000
_AT_EMPTY_PATH = 0x1000
_MSG_FASTOPEN = 0x20000000  # a send that connects
_FCNTL = (0, 1, 2, 3, 4, 1030)  # DUPFD GETFD SETFD GETFL SETFL DUPFD_CLOEXEC; SETOWN would send signals to others
_PRCTL = (15, 16, 0x53564D41)  # names of threads and of memory
_IOCTL = (0x541B, 0x5421, 0x5450, 0x5451, 0x5401, 0x802C542A, 0x5413)  # FIONREAD FIONBIO FIONCLEX FIOCLEX, is it a
# terminal (TCGETS, TCGETS2), its size
_IOCTL_TERMINAL = (*_IOCTL, 0x5402, 0x5403, 0x5404, 0x402C542B, 0x402C542C, 0x402C542D, 0x540B, 0x540F)  # TCSETS* in
# both forms, TCFLSH, TIOCGPGRP; TIOCSTI and TIOCLINUX, which type for somebody else, are not here
_SOL_SOCKET = (2, 7, 8, 9, 13)  # REUSEADDR SNDBUF RCVBUF KEEPALIVE LINGER
_TCP = (1, 3, 4, 5, 6, 12, 18)  # NODELAY CORK KEEPIDLE KEEPINTVL KEEPCNT QUICKACK USER_TIMEOUT

# Name, number on x86-64 and on aarch64 (None: it has no such call), modes. Those that are made most come first.
PLAIN: tuple[tuple[str, int, int | None, str], ...] = (
    ("futex", 202, 98, ALL), ("read", 0, 63, ALL), ("write", 1, 64, ALL), ("recvfrom", 45, 207, ALL),
    ("epoll_wait", 232, None, SOCKETS), ("epoll_pwait", 281, 22, SOCKETS), ("clock_gettime", 228, 113, ALL),
    ("accept4", 288, 242, SOCKETS), ("accept", 43, 202, SOCKETS), ("recvmsg", 47, 212, ALL),
    ("epoll_ctl", 233, 21, SOCKETS), ("epoll_pwait2", 441, 441, SOCKETS), ("getsockname", 51, 204, SOCKETS),
    ("getpeername", 52, 205, SOCKETS), ("getsockopt", 55, 209, SOCKETS), ("shutdown", 48, 210, ALL),
    ("close", 3, 57, ALL), ("readv", 19, 65, ALL), ("writev", 20, 66, ALL), ("pread64", 17, 67, ALL),
    ("pwrite64", 18, 68, ALL), ("preadv", 295, 69, ALL), ("pwritev", 296, 70, ALL), ("lseek", 8, 62, ALL),
    ("fstat", 5, 80, ALL), ("ftruncate", 77, 46, ALL), ("fsync", 74, 82, ALL), ("fdatasync", 75, 83, ALL),
    ("fadvise64", 221, 223, ALL), ("poll", 7, None, ALL), ("ppoll", 271, 73, ALL), ("select", 23, None, ALL),
    ("pselect6", 270, 72, ALL), ("dup", 32, 23, ALL), ("dup2", 33, None, ALL), ("dup3", 292, 24, ALL),
    ("munmap", 11, 215, ALL), ("mremap", 25, 216, ALL), ("madvise", 28, 233, ALL), ("brk", 12, 214, ALL),
    ("sched_yield", 24, 124, ALL), ("sched_getaffinity", 204, 123, ALL), ("getcpu", 309, 168, ALL),
    ("membarrier", 324, 283, ALL), ("set_robust_list", 273, 99, ALL), ("rseq", 334, 293, ALL),
    ("set_tid_address", 218, 96, ALL), ("exit", 60, 93, ALL), ("exit_group", 231, 94, ALL),
    ("restart_syscall", 219, 128, ALL), ("rt_sigaction", 13, 134, ALL), ("rt_sigprocmask", 14, 135, ALL),
    ("rt_sigreturn", 15, 139, ALL), ("rt_sigpending", 127, 136, ALL), ("rt_sigsuspend", 130, 133, ALL),
    ("rt_sigtimedwait", 128, 137, ALL), ("sigaltstack", 131, 132, ALL), ("getpid", 39, 172, ALL),
    ("gettid", 186, 178, ALL), ("getppid", 110, 173, ALL), ("getpgid", 121, 155, ALL), ("getpgrp", 111, None, ALL),
    ("getsid", 124, 156, ALL), ("getuid", 102, 174, ALL), ("geteuid", 107, 175, ALL), ("getgid", 104, 176, ALL),
    ("getegid", 108, 177, ALL), ("uname", 63, 160, ALL), ("sysinfo", 99, 179, ALL), ("getrandom", 318, 278, ALL),
    ("clock_getres", 229, 114, ALL), ("clock_nanosleep", 230, 115, ALL), ("nanosleep", 35, 101, ALL),
    ("gettimeofday", 96, 169, ALL), ("time", 201, None, ALL), ("times", 100, 153, ALL), ("getrusage", 98, 165, ALL),
    ("getrlimit", 97, 163, ALL), ("getcwd", 79, 17, ALL), ("wait4", 61, 260, ALL),
    # The broker alone may open, and put a finished file in the place of the old one.
    ("open", 2, None, BROKER), ("openat", 257, 56, BROKER), ("rename", 82, None, BROKER),
    ("renameat", 264, 38, BROKER), ("renameat2", 316, 276, BROKER), ("unlink", 87, None, BROKER),
    ("unlinkat", 263, 35, BROKER), ("stat", 4, None, BROKER), ("lstat", 6, None, BROKER),
    ("newfstatat", 262, 79, BROKER), ("getdents64", 217, 61, BROKER), ("sendmsg", 46, 211, BROKER),
    ("fchmod", 91, 52, BROKER), ("readlink", 89, None, BROKER), ("readlinkat", 267, 78, BROKER),
)  # fmt: skip

# The same, and what every argument that is named must be like: (kind, argument, value or values, mask).
CHECKED: tuple[tuple[str, int, int, str, tuple[tuple, ...]], ...] = (
    ("mmap", 9, 222, ALL, ((MASKED, 2, 0, _PROT_EXEC), (MASKED, 3, _MAP_ANONYMOUS, _MAP_ANONYMOUS))),
    ("mprotect", 10, 226, ALL, ((MASKED, 2, 0, _PROT_EXEC),)),
    ("sendto", 44, 206, ALL, ((ZERO, 4), (MASKED, 3, 0, _MSG_FASTOPEN))),
    ("sendmsg", 46, 211, SOCKETS, ((MASKED, 2, 0, _MSG_FASTOPEN),)),
    ("clone", 56, 220, NOT_BROKER, ((MASKED, 0, _THREAD, ~(_THREAD_FLAGS & ~_THREAD) & 0xFFFFFFFF),)),
    # fstat of newer C libraries; the path is behind a pointer, so this still tells sizes and times of files.
    ("newfstatat", 262, 79, NOT_BROKER, ((ONE_OF, 3, (_AT_EMPTY_PATH,)),)),
    ("fcntl", 72, 25, ALL, ((ONE_OF, 1, _FCNTL),)),
    ("ioctl", 16, 29, SOCKETS, ((ONE_OF, 1, _IOCTL),)),
    ("ioctl", 16, 29, TERMINAL, ((ONE_OF, 1, _IOCTL_TERMINAL),)),
    ("setsockopt", 54, 208, SOCKETS, ((ONE_OF, 1, (1,)), (ONE_OF, 2, _SOL_SOCKET))),
    ("setsockopt", 54, 208, SOCKETS, ((ONE_OF, 1, (6,)), (ONE_OF, 2, _TCP))),
    ("prctl", 157, 167, ALL, ((ONE_OF, 0, _PRCTL),)),
    ("kill", 62, 129, ALL, ((ONE_OF, 0, (SELF,)),)),
    ("tgkill", 234, 131, ALL, ((ONE_OF, 0, (SELF,)),)),
    ("prlimit64", 302, 261, ALL, ((ONE_OF, 0, (0, SELF)), (ZERO, 2))),
)

# Calls whose flags lie behind a pointer: as if the kernel did not know them, which makes the C library use clone.
UNKNOWN: tuple[tuple[str, int, int], ...] = (("clone3", 435, 435),)
