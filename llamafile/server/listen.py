"""The sockets that are listened to: an address and port, the next ones where it is taken, a path, or inherited ones."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import sys

from llamafile.errors import LlamafileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.arguments import Options

FURTHER_PORTS = 10
FIRST_INHERITED = 3  # sd_listen_fds(3): descriptors from here on, LISTEN_FDS of them
BACKLOG = 512
LOOPBACK = ("127.", "::1")

_made: set[str] = set()  # paths of the Unix sockets bound here


def sockets(options: Options) -> list[socket.socket]:
    """Bind what the flags name, or take what the service manager hands over; raises LlamafileError."""
    inherited = _inherited()
    if inherited:
        return inherited
    host, port = address(options)
    if host.endswith(".sock"):
        return [_unix(host)]
    family, where = _resolve(host, port)
    last = min(port + FURTHER_PORTS, 65535) if port else 0
    for number in range(port, last + 1):
        try:
            found = _bound(family, (where[0], number, *where[2:]), options.reuse_port)
        except OSError as problem:
            if problem.errno == errno.EADDRINUSE and number < last:
                continue
            tried = f"{host} port {port}" + (f" to {last}" if number > port else "")
            raise LlamafileError(f"{tried}: {problem.strerror}; choose another with --host and --port, or --port 0 "
                                 "for any") from None
        if number != port:
            print(f"llamafile: port {port} is taken, listening on {number} instead", file=sys.stderr)
        return [found]
    raise AssertionError("the loop returns or raises")


def address(options: Options) -> tuple[str, int]:
    """Return host and port: --listen HOST:PORT, else --host and --port."""
    if options.listen is None:
        return options.host.strip("[]"), options.port
    host, colon, port = options.listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise LlamafileError(f"--listen: {options.listen!r} is not HOST:PORT; as in 127.0.0.1:8080")
    return host.strip("[]") or "0.0.0.0", int(port)


def _resolve(host: str, port: int) -> tuple[int, tuple]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as problem:
        raise LlamafileError(f"--host: {host!r} is no address of this machine ({problem}); try 127.0.0.1") from None
    best = next((each for each in found if each[0] == socket.AF_INET), found[0])
    return best[0], best[4]


def _bound(family: int, where: tuple, reuse_port: bool) -> socket.socket:
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6 and where[0] == "::":
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        found.bind(where)
        found.listen(BACKLOG)  # two servers can be bound to a port, but only one can listen
    except BaseException:
        found.close()
        raise
    return found


def _unix(path: str) -> socket.socket:
    """Listen at a path for this user alone; one that a dead server left behind is taken over."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_dead(path)
        found.bind(path)
        os.chmod(path, 0o600)
        found.listen(BACKLOG)
        _made.add(path)
    except OSError as problem:
        found.close()
        reason = problem.strerror or str(problem)
        raise LlamafileError(f"--host: {path}: {reason}; give a path of at most 107 bytes in a folder of "
                             "yours") from None
    return found


def _remove_dead(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)


def _inherited() -> list[socket.socket]:
    """Return the listening sockets of sd_listen_fds(3), where they are meant for this process."""
    count = os.environ.get("LISTEN_FDS", "")
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return []
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    found = []
    for fd in range(FIRST_INHERITED, FIRST_INHERITED + min(int(count), 16)):
        try:
            os.set_inheritable(fd, False)
            one = socket.socket(fileno=fd)
            if not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                raise LlamafileError(f"LISTEN_FDS: descriptor {fd} does not listen; check the .socket unit")
        except OSError as problem:
            raise LlamafileError(f"LISTEN_FDS: descriptor {fd}: {problem.strerror}; check the .socket unit") from None
        found.append(one)
    return found


def url(found: socket.socket, scheme: str, prefix: str) -> str:
    """Return the address that a user types for a listening socket."""
    if found.family == socket.AF_UNIX:
        return f"unix:{found.getsockname()}{prefix}"
    host, port = found.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"{scheme}://{host}:{port}{prefix}"


def only_this_machine(found: list[socket.socket]) -> bool:
    """Whether all of them are TCP that nobody beyond this machine reaches; no page's request gets to a Unix socket."""
    return all(one.family != socket.AF_UNIX and one.getsockname()[0].startswith(LOOPBACK) for one in found)


def paths(found: list[socket.socket]) -> list[str]:
    """Return the paths of Unix sockets that this process has made."""
    return [path for one in found if one.family == socket.AF_UNIX and (path := one.getsockname()) in _made]


def leave(made: list[str]) -> None:
    """Remove such paths, so that the next server finds the place free."""
    for path in made:
        with contextlib.suppress(OSError):  # gone already, or the sandbox keeps it: the next server takes it over
            os.unlink(path)
