"""/slots: what each slot does; /slots/ID?action=save|restore|erase keeps one in a file, and brings it back."""

from __future__ import annotations

import asyncio
import os

from llamafile.sandbox import files
from llamafile.server.call import Json
from llamafile.server.errors import refused, unsupported
from llamafile.server.schema import invalid, mapping, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.server.call import Call

MOST_NAME = 200
BODY = mapping("The file to save a slot in, or to restore it from, in the folder of --slot-save-path.",
               filename=text(least=1, most=MOST_NAME))


async def get(call: Call) -> Json:
    """List the slots; with ?fail_on_no_slot=1 it is an error that none is free."""
    served = call.served
    if not served.options.slots:
        raise unsupported("This server does not show its slots. Start it with --slots")
    found = served.scheduler.slots()
    if call.exchange.query.get("fail_on_no_slot", "0") not in ("", "0") and all(
        slot["is_processing"] for slot in found
    ):
        raise refused(503, "no slot available")
    return Json(found)


async def post(call: Call) -> Json:
    """Save, restore or erase a slot."""
    if not call.rest.isdecimal() or len(call.rest) > 6:
        raise invalid("id_slot", f"{call.rest[:20]!r} is not the number of a slot")
    number, action = int(call.rest), call.exchange.query.get("action", "")
    if number >= call.served.scheduler.n_slots:
        raise invalid("id_slot", f"there is no slot {number}, the last is {call.served.scheduler.n_slots - 1}")
    if action == "erase":
        return Json(await asyncio.to_thread(call.served.scheduler.erase, number))
    if action not in ("save", "restore"):
        raise invalid("action", f"{action[:20]!r} is not save, restore or erase")
    return Json(await asyncio.to_thread(_keep if action == "save" else _restore, call, number))


def _keep(call: Call, number: int) -> dict[str, Any]:
    folder, name = _folder(call), _name(call)
    try:
        with files.replacing(os.path.join(folder, name)) as target:
            found = call.served.scheduler.save(number, target)
    except OSError as problem:
        raise refused(500, f"filename: {name!r} cannot be written: {problem.strerror}") from None
    return {"id_slot": number, "filename": name, "n_saved": found["n_saved"], "n_written": found["n_written"],
            "timings": {"save_ms": found["save_ms"]}}


def _restore(call: Call, number: int) -> dict[str, Any]:
    folder, name = _folder(call), _name(call)
    try:
        source = files.reading(os.path.join(folder, name))
    except OSError as problem:
        raise invalid("filename", f"{name!r} cannot be read: {problem.strerror}") from None
    with source:
        found = call.served.scheduler.load(number, source)
    return {"id_slot": number, "filename": name, "n_restored": found["n_restored"], "n_read": found["n_read"],
            "timings": {"restore_ms": found["restore_ms"]}}


def _folder(call: Call) -> str:
    folder = call.served.settings.slot_folder
    if folder is None:
        raise unsupported("This server does not save slots. Start it with --slot-save-path FOLDER")
    return folder


def _name(call: Call) -> str:
    """Return the file's name, which is a name alone and no path."""
    name = call.body.get("filename")
    if name is None:
        raise invalid("filename", "is missing")
    if name.startswith(".") or not all(letter.isalnum() or letter in "-_.+@ " for letter in name) or (
        len(name.encode("utf-8", "surrogatepass")) > MOST_NAME
    ):
        raise invalid("filename", "is not a plain name of letters, digits, - _ . + @ and spaces")
    return name
