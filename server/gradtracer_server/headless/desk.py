"""What an agent may ask and do, as plain functions: `mcp.py` puts them into a protocol.

Answers are short, as a model pays for each word, and cleaned: they come from journals. Everything
is read anew from disk at each call, by the same code as `gradtracer check`: ids, findings and fixes
are those of the editor. A file that an open editor has not saved is taken as the editor has it, and
a fix of it is made there; every other one on disk. Both need the sha256 of what was proposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gradtracer_schemas import RULES, CheckpointRequest
from gradtracer_server.compressing import compress_checkpoint
from gradtracer_server.control import ask, live_run, request_of
from gradtracer_server.exceptions import EditError, UsageError
from gradtracer_server.findings import resolve_site
from gradtracer_server.fixes.application import as_expected, changes_of, digest
from gradtracer_server.fixes.safety import is_safe
from gradtracer_server.headless.answers import (
    Answer,
    cleaned,
    finding_answer,
    health_of,
    run_answer,
    short,
)
from gradtracer_server.headless.baseline import find_run
from gradtracer_server.headless.check import SHOWN
from gradtracer_server.headless.control import change_of
from gradtracer_server.headless.named import WHY_NOT, finding_of, findings_of, fix_of
from gradtracer_server.headless.nearest import meant
from gradtracer_server.headless.paths import no_runs
from gradtracer_server.headless.report import page_of
from gradtracer_server.headless.selection import chosen
from gradtracer_server.headless.survey import Survey, survey
from gradtracer_server.render.card import layer_kind
from gradtracer_server.render.escape import clean
from gradtracer_server.render.json import finding_record
from gradtracer_server.render.text import relative_path, unreadable_lines
from gradtracer_server.source.edits import unified_diff

_MOST = 20
"""Findings and runs in one answer."""


@dataclass(frozen=True, slots=True)
class Desk:
    """The folders an agent works in."""

    paths: Sequence[Path]

    def look(self) -> Survey:
        """The runs and the source as they are now."""
        return survey(self.paths, attach=True)

    def list_runs(self, limit: int = 10) -> Answer:
        """The runs, the newest first."""
        seen = self.look()
        if not seen.book.runs:
            return {"runs": [], "note": no_runs(seen.folders)}
        runs = seen.book.runs
        shown = runs[: max(1, min(limit, _MOST))]
        for run in shown:
            run.catch_up()
        answer: Answer = {"runs": [run_answer(run) for run in shown]}
        if len(runs) > len(shown):
            answer["older"] = len(runs) - len(shown)
        return answer

    def get_diagnoses(
        self, run: str | None = None, select: str | None = None, outdated: bool = False
    ) -> Answer:
        """What the runs that speak found, or one run, on the source as it is now."""
        seen = self.look()
        runs, findings = seen.runs, seen.findings
        if run is not None:
            runs = [find_run(run, seen.book.runs)]
            findings = findings_of(seen, runs[0])
        every, findings = findings, chosen(findings, [select] if select else [])
        shown = [each for each in findings if outdated or each.state in SHOWN]
        answer: Answer = {
            "runs": [run_answer(each) for each in runs],
            "findings": [finding_answer(each, seen.repairs(each)) for each in shown[:_MOST]],
        }
        if len(shown) > _MOST:
            answer["more_findings"] = len(shown) - _MOST
        hidden = sorted({each.state for each in findings} - {each.state for each in shown})
        if hidden:
            answer["not_shown"] = {
                state: sum(each.state == state for each in findings) for state in hidden
            }
        if not runs:
            unreadable = unreadable_lines(seen.book.runs)
            answer["note"] = "\n".join(unreadable) or no_runs(seen.folders)
        elif not shown:
            left_out = sum(each.state in SHOWN for each in every)
            answer["status"] = health_of(runs, bool(hidden), left_out)
        if seen.complaints:
            answer["settings"] = [clean(str(each)) for each in seen.complaints]
        return answer

    def explain(self, diagnosis_id: str) -> Answer:
        """Everything behind a finding: tests, rows, places, interventions, and its rule."""
        seen = self.look()
        finding = finding_of(seen, diagnosis_id)
        diagnosis, run = finding.diagnosis, finding.run
        record = finding_record(finding, seen.fixes(finding))
        for key in ("end_line", "end_column", "fingerprint", "baseline_state"):
            record.pop(key)
        state = run.layers.get(diagnosis.layer)
        rule = RULES.get(diagnosis.type)
        return {
            **cleaned(record),
            "first_step": diagnosis.first_step,
            "figures": {
                name: short(value)
                for name, value in (
                    state.observation.values if state and state.observation else {}
                ).items()
            },
            "interventions": [
                {"step": event.step, **cleaned(msgspec.to_builtins(event.body))}
                for event in list(run.interventions)[-3:]
                if event.body.layer == diagnosis.layer
            ],
            "rule": msgspec.to_builtins(rule) if rule else None,
        }

    def report(self, run: str) -> str:
        """The page that `gradtracer report` writes."""
        seen = self.look()
        return page_of(find_run(run, seen.book.runs), seen)

    def locate_layer(self, layer: str, run: str | None = None) -> Answer:
        """Where a layer is defined now, innermost statement first."""
        seen = self.look()
        runs = [find_run(run, seen.book.runs)] if run is not None else seen.runs
        for each in runs:
            each.catch_up()
            state = each.layers.get(layer)
            if state is None:
                continue
            frames = resolve_site(state.watched.site, each, seen.documents, seen.workspace)
            return {
                "layer": clean(layer, 200),
                "kind": clean(layer_kind(state.watched)),
                "run": each.id,
                "places": [
                    {
                        "path": relative_path(frame.path),
                        "line": focus.start.line + 1 if (focus := frame.anchor.focus) else None,
                        "column": focus.start.column + 1 if focus else None,
                        "state": frame.anchor.state,
                        "ran": clean(frame.frame.text, 200),
                    }
                    for frame in frames
                ],
            }
        known = [name for each in runs for name in each.layers]
        listed = f"the layers are {', '.join(known[:10])}" if known else "no layer was watched"
        raise UsageError(
            f"expected a layer of {'the run' if run else 'a run'}, got {layer[:80]!r}; "
            f"{meant(layer, known, listed)}"
        )

    def propose_fix(self, diagnosis_id: str, fix: str | None = None) -> Answer:
        """The diff of a fix, and the digest that applying it expects."""
        seen = self.look()
        finding = finding_of(seen, diagnosis_id)
        if finding.state != "current":
            return {"id": diagnosis_id, "diff": "", "note": WHY_NOT[finding.state]}
        chosen_fix = fix_of(seen, finding, fix)
        changes = changes_of(chosen_fix.edits(), seen.documents)
        return {
            "id": diagnosis_id,
            "fix": chosen_fix.name,
            "title": clean(chosen_fix.title),
            "safe": is_safe(chosen_fix),
            "expect_sha256": digest(changes),
            "diff": "".join(
                unified_diff(relative_path(each.path), each.before.decode(), each.after.decode())
                for each in changes
            ),
        }

    def apply_fix(
        self, diagnosis_id: str, fix: str, expect_sha256: str, dry_run: bool = False
    ) -> Answer:
        """Make a proposed fix, if the text is still the one it was proposed for."""
        seen = self.look()
        finding = finding_of(seen, diagnosis_id)
        if finding.state != "current":
            return {"state": "stale", "reason": WHY_NOT[finding.state]}
        try:
            chosen_fix = fix_of(seen, finding, fix)
            changes = changes_of(chosen_fix.edits(), seen.documents)
        except EditError as error:
            return {"state": "conflict", "reason": str(error)}
        if dry_run:
            same = as_expected(changes, expect_sha256)
            return {"state": "would be applied" if same else "stale", "dry_run": True}
        outcome = seen.apply(changes, expect_sha256, chosen_fix.title)
        if outcome.state != "applied":
            return {"state": outcome.state, "reason": outcome.reason}
        after = next(
            (each for each in seen.again().findings if each.diagnosis.id == diagnosis_id), None
        )
        return {
            "state": "applied",
            "new_sha256": digest(changes, after=True),
            "finding": after.state if after is not None else "gone",
            **({"where": outcome.reason} if outcome.reason else {}),
            "next": "train again; wait_until(ended=true) then lists the diagnoses of the new run",
        }

    def control_run(
        self,
        name: str | None,
        auto_fix: bool | None,
        track_interval: int | None,
        layer: str,
        reason: str,
        confirm: bool,
    ) -> Answer:
        """Ask a live run for one change; unconfirmed, say what would be asked and of which run.

        Raises:
            UsageError: two changes at once, or no run that is meant.
            ControlFailed: it gave no answer.
        """
        if auto_fix is not None and track_interval is not None:
            raise UsageError("expected auto_fix or track_interval, got both; ask one by one")
        run = live_run(self.look().book.runs, name)
        word = None if auto_fix is None else "on" if auto_fix else "off"
        request = request_of(
            run, change_of(word, track_interval, layer), sender="agent", reason=reason
        )
        if not confirm:
            asked = msgspec.to_builtins(request.body)
            return {"run": run.id, "status": run.status, "would_ask": asked, "dry_run": True}
        answer = ask(run, request)
        return {
            "run": run.id,
            "status": answer.status,
            "reason": clean(answer.reason),
            "step": answer.step,
        }

    def compress(self, request: CheckpointRequest, confirm: bool) -> Answer:
        """Compress a checkpoint; unconfirmed, say what would be run and written.

        Raises:
            CompressionFailed: it could not be done.
        """
        folder = (self.paths[0] if self.paths else Path()).resolve()
        folder = folder if folder.is_dir() else folder.parent
        if not confirm:
            runs = [each for each in (request.model, request.evaluate) if each]
            return {"would_run": runs, "in": str(folder), "dry_run": True}
        result = compress_checkpoint(request, folder)
        return cleaned(msgspec.to_builtins(result))

    def get_recipe(self, run: str | None = None) -> Answer:
        """The compression recipe of a run; says plainly where there is none."""
        seen = self.look()
        runs = [find_run(run, seen.book.runs)] if run is not None else seen.runs
        for each in runs:
            each.catch_up()
            if each.recipe is not None:
                return {"run": each.id, "recipe": cleaned(msgspec.to_builtins(each.recipe))}
        if not runs:
            return {"recipe": None, "note": no_runs(seen.folders)}
        return {
            "recipe": None,
            "note": f"run {runs[0].id} has no compression recipe; gradtracer.RecipeGenerator(run, "
            "evaluate=...) in the script makes one",
        }
