"""``visrec train --dry-run``: what a training would do and how long it would take, without doing it."""


def plan(config, settings) -> dict:
    """What a training would do: settings, images, warnings and seconds."""
    from dataclasses import asdict

    from visrec.model import estimate
    from visrec.model.train import plan as plan_training

    planned = plan_training(config, settings)
    counts = {str(k): int(v) for k, v in planned.samples["split"].value_counts().items()}
    found = estimate.for_settings(planned.config, counts, settings)
    return {
        "settings": asdict(planned.config), "labels": planned.labels, "images": counts, "warnings": planned.warnings,
        "seconds": found.stages, "total_seconds": round(found.seconds, 1), "basis": found.basis,
    }  # fmt: skip


def show(result: dict) -> None:
    """What would be done, for people."""
    given = [f"{k.replace('_', ' ')} {_word(v)}" for k, v in result["settings"].items() if v is not None]
    print("Settings: " + "; ".join(given))
    print("Images: " + ", ".join(f"{n:,} {split}" for split, n in result["images"].items()))
    for warning in result["warnings"]:
        print(f"Warning: {warning}")
    print(f"About {result['total_seconds'] / 60:.1f} minutes on this machine, by {result['basis']}: "
          + ", ".join(f"{stage.replace('_', ' ')} {s:.0f} s" for stage, s in result["seconds"].items()))  # fmt: skip


def _word(value) -> str:
    """A setting as a person would say it.

    >>> _word(("race", "age")), _word(()), _word(False), _word(0.35)
    ('race, age', 'nothing', 'no', '0.35')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (", ".join(value) or "nothing") if isinstance(value, (tuple, list)) else str(value)
