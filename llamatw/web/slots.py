"""/slots: what the lanes do; and what may be done to one: saved to a file, restored from it, erased."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from klein import Klein

from llamatw.engine.savedir import SaveDirectory, check_name
from llamatw.engine.saves import Saves
from llamatw.engine.stats import SlotState
from llamatw.errors import BadRequest, NotSupported, Unavailable
from llamatw.web import reply
from llamatw.web.api import Api, Request, answer
from llamatw.web.schema import SlotFileRequest

Action = Callable[[Request, int], Awaitable[reply.Json]]


def add_routes(app: Klein, api: Api) -> None:
    actions = _actions(api)

    @app.route("/slots", methods=["GET"])
    def slots(request: Request) -> bytes:
        if not api.settings.slots:
            raise NotSupported("This server does not support the slots endpoint. Start it without `--no-slots`")
        n_ctx = api.engine.info.n_ctx
        states = api.engine.snapshot().slots
        if request.args.get(b"fail_on_no_slot") and all(state.is_processing for state in states):
            raise Unavailable("no slot available", retry_after=1)
        return answer(request, [_slot(api, state, n_ctx) for state in states])

    @app.route("/slots/<slot>", methods=["POST"])
    async def act(request: Request, slot: str) -> bytes:
        _ = api.engine.info  # Unavailable while loading
        lane = _lane(slot, api.n_slots)
        action = _wish(request, actions)
        return answer(request, await action(request, lane))


def _actions(api: Api) -> dict[bytes, Action]:
    saves = Saves(api.engine, api.settings.slot_save_path, api.reactor)

    async def save(request: Request, lane: int) -> reply.Json:
        directory, name = _directory(api, saves), _filename(api, request)
        done = await saves.save(directory, lane, name, request.owner)
        counts = {"n_saved": done.n_tokens, "n_written": done.n_bytes}
        return {"id_slot": lane, "filename": name, **counts, "timings": {"save_ms": done.ms}}

    async def restore(request: Request, lane: int) -> reply.Json:
        directory, name = _directory(api, saves), _filename(api, request)
        done = await saves.restore(directory, lane, name, request.owner)
        counts = {"n_restored": done.n_tokens, "n_read": done.n_bytes}
        return {"id_slot": lane, "filename": name, **counts, "timings": {"restore_ms": done.ms}}

    async def erase(request: Request, lane: int) -> reply.Json:
        return {"id_slot": lane, "n_erased": await saves.erase(lane, request.owner)}

    return {b"save": save, b"restore": restore, b"erase": erase}


def _directory(api: Api, saves: Saves) -> SaveDirectory:
    if saves.directory is None:
        raise NotSupported("slots are saved and restored only when the server is started with --slot-save-path")
    if api.engine.info.is_recurrent:
        raise NotSupported(f"slots of {api.engine.info.arch} cannot be saved or restored: it has recurrent layers")
    return saves.directory


def _filename(api: Api, request: Request) -> str:
    name = api.body(request, SlotFileRequest).filename
    check_name(name)
    return name


def _lane(slot: str, n_slots: int) -> int:
    if not (slot.isascii() and slot.isdigit() and len(slot) < 10 and int(slot) < n_slots):
        raise BadRequest(f"the slot must be a whole number from 0 to {n_slots - 1}, not {slot[:40]!r}", "id_slot")
    return int(slot)


def _wish(request: Request, actions: dict[bytes, Action]) -> Action:
    asked = request.args.get(b"action", [])
    if len(asked) != 1 or asked[0] not in actions:
        raise BadRequest("action must be one of save, restore and erase, once", "action")
    return actions[asked[0]]


def _slot(api: Api, state: SlotState, n_ctx: int) -> reply.Json:
    slot: reply.Json = {
        "id": state.id,
        "n_ctx": n_ctx,
        "is_processing": state.is_processing,
        "speculative": api.engine.settings.n_draft > 0 and not api.engine.info.is_recurrent,
    }
    if state.params is None:
        return slot
    limit = state.params.max_tokens
    return {
        **slot,
        "id_task": state.task,
        "n_prompt_tokens": state.n_prompt,
        "n_prompt_tokens_processed": max(min(state.n_computed, state.n_prompt) - state.n_cached, 0),
        "n_prompt_tokens_cache": state.n_cached,
        "params": reply.lane_settings(state.params, model=api.model, n_ctx=n_ctx),
        "next_token": [
            {
                "has_next_token": state.is_processing,
                "has_new_line": state.has_line,
                "n_remain": limit - state.n_decoded if state.is_processing and limit >= 0 else -1,
                "n_decoded": state.n_decoded,
            }
        ],
    }
