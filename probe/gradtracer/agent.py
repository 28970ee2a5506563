"""AgentExporter: diagnoses as JSON for programs and coding agents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from gradtracer.analyzers.embedding import EmbeddingTracker
    from gradtracer.analyzers.flow import FlowTracker
    from gradtracer.analyzers.manager import FlowManager
    from gradtracer.analyzers.trees import TreeDynamicsTracker
    from gradtracer.run import Run


class AgentExporter:
    """JSON under the original system's keys; newer keys stand beside them."""

    @classmethod
    def export_embedding(cls, tracker: EmbeddingTracker, save: bool = False) -> str:
        """Report on one table.

        `{"gradtracer_embedding_report": {layer, embedding_stats, diagnostics, ...}}`, where
        `diagnostics` is a list of diagnoses, or `{"status": "HEALTHY ..."}` when no test rejects;
        `UNKNOWN ...` when nothing was seen that a test could look at.

        Args:
            tracker: a tracker, attached or detached.
            save: also write it beside the journal, as `<layer>.json`.
        """
        from gradtracer.analyzers.table_report import summarize

        figures = tracker.figures()
        summary = summarize(figures)
        diagnostics: Any = [msgspec.to_builtins(found) for found in tracker.diagnose(figures)]
        if not diagnostics:
            diagnostics = _status("this table", figures.unseen.look_ups, "look-ups")
        report = {
            "gradtracer_embedding_report": {
                "layer": tracker.name,
                "embedding_stats": {
                    "num_embeddings": summary["num_embeddings"],
                    "active_coverage_pct": round(summary["coverage_pct"], 1),
                    "popularity_gini": round(summary["gini"], 3),
                },
                "diagnostics": diagnostics,
                "run": tracker.run.id,
                "step": tracker.run.step,
                "site": msgspec.to_builtins(tracker.site),
                "values": {key: value for key, value in summary.items() if _plain(value)},
            }
        }
        return _written(report, tracker.run, tracker.name, save)

    @classmethod
    def export_flow(cls, tracker: FlowTracker, save: bool = False) -> str:
        """Report on the layers of a model.

        `{"gradtracer_flow_report": {layers: [{layer, site, values, diagnostics}], ...}}`, where
        `diagnostics` is as in `export_embedding`.

        Args:
            tracker: a tracker, attached or detached.
            save: also write it beside the journal, as `layers.json`.
        """
        from gradtracer.analyzers.layer_figures import observation

        figures = tracker.figures()
        found = tracker.diagnose(figures)
        sites = tracker.sites
        layers: list[dict[str, Any]] = []
        for each in figures:
            diagnostics: Any = [msgspec.to_builtins(one) for one in found.get(each.layer, [])]
            layers.append(
                {
                    "layer": each.layer,
                    "site": msgspec.to_builtins(sites[each.layer]),
                    "values": observation(each).values,
                    "diagnostics": diagnostics or _status("it", each.steps, "tracked steps"),
                }
            )
        report = {
            "gradtracer_flow_report": {
                "layers": layers,
                "run": tracker.run.id,
                "step": tracker.run.step,
            }
        }
        return _written(report, tracker.run, "layers", save)

    @classmethod
    def export_manager(cls, manager: FlowManager, save: bool = False) -> str:
        """Report on the towers of a model, and the summaries of the trackers beside them.

        `{"gradtracer_manager_report": {name, towers: [{tower, modules, values, diagnostics}],
        summary, ...}}`, where `diagnostics` is as in `export_embedding`.

        Args:
            manager: attached or detached; one without towers reports its trackers alone.
            save: also write it beside the journal, as `<name>.json`; needs towers.
        """
        from gradtracer.analyzers.tower_figures import observation

        figures = {each.tower: each for each in manager.figures()}
        found = manager.diagnose(list(figures.values()))
        towers: list[dict[str, Any]] = []
        for tower in manager.towers:
            known = figures.get(tower.name)
            steps = known.steps if known is not None else 0
            diagnostics: Any = [msgspec.to_builtins(one) for one in found.get(tower.name, [])]
            towers.append(
                {
                    "tower": tower.name,
                    "modules": list(tower.paths),
                    "values": observation(known, tower.name).values if known is not None else {},
                    "diagnostics": diagnostics or _status("it", steps, "tracked steps"),
                }
            )
        report = {
            "gradtracer_manager_report": {
                "name": manager.name,
                "towers": towers,
                "summary": _numbers(manager.summary()),
            }
        }
        if not manager.towers:
            return json.dumps(report, indent=2)
        return _written(report, manager.run, manager.name, save)

    @classmethod
    def export_trees(cls, tracker: TreeDynamicsTracker) -> str:
        """Report on one ensemble of trees.

        `{"gradtracer_tree_report": {model, library, dynamics, diagnostics}}`, where `diagnostics`
        is as in `export_embedding`.
        """
        dynamics = tracker.extract_dynamics()
        diagnostics: Any = [msgspec.to_builtins(each._asdict()) for each in tracker.findings()]
        if not diagnostics:
            diagnostics = _status("these trees", dynamics["num_rounds"], "rounds")
        report = {
            "gradtracer_tree_report": {
                "model": tracker.name,
                "library": tracker.library,
                "dynamics": dynamics,
                "diagnostics": diagnostics,
            }
        }
        return json.dumps(report, indent=2)


def _status(what: str, seen: int, unit: str) -> dict[str, str]:
    """What stands in the place of diagnoses when there are none."""
    if seen == 0:
        return {"status": f"UNKNOWN: no {unit} of {what} were seen, so nothing could be found."}
    return {"status": f"HEALTHY: no test finds anything wrong with {what} after {seen:,} {unit}."}


def _written(report: dict[str, Any], run: Run, name: str, save: bool) -> str:
    text = json.dumps(report, indent=2)
    if save:
        folder = Path(run.root) / ".gradtracer" / "runs" / run.id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    return text


def _plain(value: object) -> bool:
    return isinstance(value, int | float)


def _numbers(summary: Any) -> Any:
    """A summary without what JSON has no word for, such as arrays."""
    if isinstance(summary, dict):
        return {str(key): _numbers(value) for key, value in summary.items()}
    if isinstance(summary, list):
        return [_numbers(value) for value in summary]
    return summary if isinstance(summary, int | float | str | None) else str(summary)
