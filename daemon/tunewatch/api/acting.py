"""What people ask to be done: rows that whoever has the source or plugin takes up.

Answers as soon as the row is written. Checks that what is named exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec.structs import asdict

from tunewatch.api.answers_deliveries import (
    PlanAnswer,
    PlannedEvent,
    RedeliveryAnswer,
    RequestAnswer,
)
from tunewatch.api.asked import OneJobAsked
from tunewatch.api.asked_deliveries import DryRunBody, PauseBody, RedeliverBody
from tunewatch.api.faults import Impossible, NotThere
from tunewatch.api.stored import Stored
from tunewatch.settings import closest
from tunewatch.store.audit import Deed
from tunewatch.store.choice import CannotChoose, Plan, Selection, Subscribed
from tunewatch.store.redelivering import Redeliver
from tunewatch.store.requests import Requests

SHOWN = 100
"""Events that a dry run shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acting:
    """Asks for things to be done. Every method may raise StoreFault."""

    reading: Stored
    requests: Requests
    redelivering: Redeliver
    plugins: Sequence[Subscribed]  #: those that are configured
    by: str = "api"  #: who asks, for the record

    async def look(self, job_id: str, asked: OneJobAsked) -> RequestAnswer:
        """Have a job looked at now. Raises NotThere, Ambiguous."""
        found = await self.reading.found(job_id, asked.source)
        ids = {row.name: row.id for row in await self.reading.reads.sources()}
        where = f"{found.source}/{job_id}"
        deed = Deed(self.by, "look_at_job", where)
        return await self._add("look", {"job": job_id}, deed, ids[found.source])

    async def pause(self, name: str, body: PauseBody) -> RequestAnswer:
        """Hold back deliveries to a plugin. Raises NotThere."""
        reason = {} if body.reason is None else {"reason": body.reason}
        deed = Deed(self.by, "pause_plugin", self._known(name))
        return await self._add("pause", {"plugin": name, **reason}, deed)

    async def resume(self, name: str) -> RequestAnswer:
        """Let deliveries to a plugin go on. Raises NotThere."""
        deed = Deed(self.by, "resume_plugin", self._known(name))
        return await self._add("resume", {"plugin": name}, deed)

    async def redeliver_one(self, delivery_id: str, body: DryRunBody) -> PlanAnswer:
        """Deliver an event to a plugin again. Raises NotThere, Impossible."""
        of = await self.reading.delivery(delivery_id)
        selection = Selection(events=(of.event_id,), plugin=of.plugin)
        deed = Deed(self.by, "redeliver_delivery", delivery_id)
        return await self._redeliver(selection, deed, dry_run=body.dry_run)

    async def redeliver(self, body: RedeliverBody) -> PlanAnswer:
        """Deliver events again. Raises NotThere, Impossible."""
        fields = asdict(body)
        dry_run, before = fields.pop("dry_run"), fields.pop("before")
        selection = Selection(**fields, until=before)
        if selection.plugin is not None:
            self._known(selection.plugin)
        deed = Deed(self.by, "redeliver", selection.plugin)
        return await self._redeliver(selection, deed, dry_run=dry_run)

    async def cancel(self, redelivery_id: str) -> RedeliveryAnswer:
        """Take back what has not gone out of a redelivery. Raises NotThere."""
        found = await self.reading.redelivery(redelivery_id)
        await self.redelivering.cancel(found.id, by=self.by)
        return await self.reading.redelivery(redelivery_id)

    async def _redeliver(
        self, selection: Selection, deed: Deed, *, dry_run: bool
    ) -> PlanAnswer:
        try:
            plan = await self.redelivering.plan(selection, self.plugins)
        except CannotChoose as cannot:
            raise Impossible(cannot.reason) from None
        if plan.refused and (selection.events or selection.letters):
            raise Impossible("; ".join(plan.refused))
        if not dry_run:
            made = await self.redelivering.make(plan, deed=deed)
            return _answer(plan, made, ())
        lines = await self.redelivering.lines(plan, self.plugins, limit=SHOWN)
        return _answer(plan, None, [PlannedEvent(**one._asdict()) for one in lines])

    def _known(self, name: str) -> str:
        names = [one.name for one in self.plugins]
        if name in names:
            return name
        meant = closest(name, names)
        known = ", ".join(names) or "none"
        hint = f"did you mean {meant}?" if meant else f"configured are {known}"
        raise NotThere(f"there is no plugin {name} in the configuration; {hint}")

    async def _add(
        self,
        kind: str,
        body: dict[str, str],
        deed: Deed,
        source_id: int | None = None,
    ) -> RequestAnswer:
        encoded = msgspec.json.encode(body)
        made = await self.requests.add(kind, source_id, encoded, deed=deed)
        return RequestAnswer(id=made, kind=kind)


def _answer(plan: Plan, made: int | None, first: Sequence[PlannedEvent]) -> PlanAnswer:
    return PlanAnswer(
        id=made,
        events=plan.events,
        jobs=len({(one.source_id, one.job_key) for one in plan.stretches}),
        plugins=tuple(sorted({one.plugin for one in plan.stretches})),
        under_way=plan.under_way,
        refused=plan.refused,
        first=tuple(first),
    )
