"""--print-unit: the systemd service that runs this command as a server, with all that it does not need taken away."""

from __future__ import annotations

import os
import pwd
import sys

from llamafile import own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.arguments import Options

_TEMPORARY = ("/tmp/", "/var/tmp/")  # which PrivateTmp would hide
_UNIT = """\
# Save as /etc/systemd/system/llamafile.service, then: systemctl daemon-reload && systemctl enable --now llamafile

[Unit]
Description={description}
After=network.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
WorkingDirectory={folder}
TimeoutStopSec={stop}
Restart=on-failure
{user}
{more}
# The program closes a sandbox of its own behind itself; this one holds from its first instruction.
NoNewPrivileges=yes
CapabilityBoundingSet={capabilities}
AmbientCapabilities={capabilities}
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp={private_tmp}
{devices}
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
RestrictAddressFamilies={families}
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
{executable_memory}
SystemCallArchitectures=native
SystemCallFilter=@system-service seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
SystemCallErrorNumber=EPERM
UMask=0077

[Install]
WantedBy=multi-user.target
"""


def text(options: Options, words: list[str]) -> str:
    """Return the unit for the words of a command line; names in it stay relative to the folder where one is now."""
    given = [word for word in words if word != "--print-unit"]
    if "--server" not in given:
        given.insert(0, "--server")
    command = [own.path() or sys.executable, *(() if own.path() else ("-m", "llamafile")), *given, "--nobrowser"]
    uses_gpu = options.gpu not in ("auto", "disable", "disabled") or options.n_gpu_layers > 0
    folder = os.getcwd()
    return _UNIT.format(
        description=f"{os.path.basename(own.path() or 'llamafile')}, a language model by HTTP".replace("%", "%%"),
        command=" ".join(map(quoted, command)), folder=folder.replace("%", "%%"),
        stop=options.drain_seconds + 10, user=_user(command, folder), more=_more(options),
        devices="# A GPU is used: its devices stay." if uses_gpu else "PrivateDevices=yes\nDevicePolicy=closed",
        families="AF_UNIX" if options.host.endswith(".sock") else "AF_INET AF_INET6 AF_UNIX",
        capabilities="CAP_NET_BIND_SERVICE" if 0 < options.port < 1024 else "",
        private_tmp="no" if any(path.startswith(_TEMPORARY) for path in _paths(command, folder)) else "yes",
        # A GPU's driver compiles kernels in memory.
        executable_memory="MemoryDenyWriteExecute=no" if uses_gpu else "MemoryDenyWriteExecute=yes",
    )


def quoted(word: str) -> str:
    """Return a word as systemd reads it back: % and $ doubled, in quotes where anything in it means something."""
    plain = word.replace("%", "%%").replace("$", "$$")
    if plain and not set(plain) & set(" \t\n\"'\\;"):
        return plain
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _user(command: list[str], folder: str) -> str:
    """A user made for the service, unless one of its files is for some users only: then the one who asks."""
    if all(map(_everybody_may_read, _paths(command, folder))):
        return "DynamicUser=yes"
    return f"User={pwd.getpwuid(os.getuid()).pw_name}"


def _paths(command: list[str], folder: str) -> list[str]:
    return [os.path.abspath(word) for word in [*command, folder] if os.path.exists(word)]


def _everybody_may_read(path: str) -> bool:
    if not os.stat(path).st_mode & 0o004:
        return False
    above = os.path.dirname(path)
    while os.stat(above).st_mode & 0o001:
        if above == os.path.dirname(above):
            return True
        above = os.path.dirname(above)
    return False


def _more(options: Options) -> str:
    """Lines that single flags ask for."""
    lines = []
    if options.slot_save_path is not None:
        lines.append(f"ReadWritePaths={quoted(os.path.abspath(options.slot_save_path))}")
    if options.host.endswith(".sock"):
        folder = os.path.dirname(os.path.abspath(options.host))
        lines.append(f"ReadWritePaths={quoted(folder)}")
    if options.mlock:
        lines.append("LimitMEMLOCK=infinity")
    return "\n".join(lines)
