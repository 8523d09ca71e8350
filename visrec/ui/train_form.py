"""The form of a new run: what to predict, whom to watch, three plain presets, and the expert part folded away."""

import dataclasses

import streamlit as st

from visrec.config import TrainConfig
from visrec.errors import VisrecError
from visrec.model.estimate import estimate, speed, split_counts
from visrec.ui import buckets, cached, frame, training, widgets, wording

PRESETS = {
    "quick": ("Quick look", "Small images, no fine-tuning: whether it works at all."),
    "balanced": ("Balanced", "The right choice for most: fine-tuned, still done over a coffee or two."),
    "thorough": ("Thorough", "Larger images and more passes, for the model you mean to keep."),
}
SAMPLE_WEIGHTS = {
    "none": "every image counts the same",
    "class": "rare classes count more",
    "group": "rare groups count more",
    "reweighing": "group and class made independent (AIF360's reweighing)",
}
SIDES = {True: "both: mirror images count as well", False: "as they are: left is not right"}
FITS = {
    "stretch": "stretched: all of it, out of shape",
    "crop": "cropped: its middle, in shape",
    "pad": "padded: all of it, in shape, on white",
}


def draw(bucket, table) -> tuple[TrainConfig | None, str]:
    """The form; returns the complete configuration and the run's name, or None while a choice cannot be."""
    left, right = st.columns(2)
    with left:
        target = buckets.choose_target(table, "train_target", "2  What to predict")
    others = [name for name in table.attributes if name not in (target, "label")]
    wanted = table.defaults.get("by") or others[:2]
    wanted = wanted.split(",") if isinstance(wanted, str) else wanted
    with right:
        by = st.multiselect(
            "Whom to watch",
            others,
            default=[name for name in wanted if name in others],
            format_func=wording.nice,
            key=f"train_by_{table.url}_{target}",
            placeholder="no attribute besides the class" if not others else "nobody in particular",
            disabled=not others,
            help="Attributes whose groups are followed during training; the audit may use every attribute.",
        )
    preset = st.radio(
        "3  How thorough",
        list(PRESETS),
        index=1,
        format_func=lambda name: PRESETS[name][0],
        captions=[text for _, text in PRESETS.values()],
        horizontal=True,
        key="train_preset",
    )
    config = TrainConfig(bucket=bucket.name, target=target, by=tuple(by), preset=preset)
    plain = _resolved(config, table)
    if plain is None:
        return None, ""
    config, name = _expert(config, plain)
    complete = _resolved(config, table)
    if complete is not None:
        say_what_will_happen(complete, table)
    return complete, name


def _resolved(config: TrainConfig, table) -> TrainConfig | None:
    from visrec.model.mobilenet import find_weights
    from visrec.model.presets import resolve

    try:
        complete = resolve(config, table)
        if complete.weights not in ("imagenet", "none"):
            find_weights(complete.weights, complete.alpha, complete.image_size)
        return complete
    except VisrecError as error:
        st.error(widgets.escape(str(error)), icon=":material/error:")
        return None


def _expert(config: TrainConfig, plain: TrainConfig) -> tuple[TrainConfig, str]:
    """The folded part: an empty field means "as the choice above says", which it shows."""
    with st.expander("Expert settings", icon=":material/tune:"):
        st.caption("An empty field keeps what the choice above and the bucket's own settings say.")
        one, two, three = st.columns(3)
        values = {
            "image_size": _number(one, "Image size (pixels)", plain.image_size, 32, 512, "image_size"),
            "epochs": _number(two, "Passes for the head", plain.epochs, 0, 10_000, "epochs"),
            "fine_tune_epochs": _number(
                three, "Passes of fine-tuning", plain.fine_tune_epochs, 0, 1000, "fine_tune_epochs"
            ),
            "alpha": _choice(one, "Width of the network", [0.35, 0.5, 0.75, 1.0, 1.3, 1.4], plain.alpha, "alpha"),
            "batch_size": _number(two, "Images per step", plain.batch_size, 2, 4096, "batch_size"),
            "limit": _number(three, "Use at most (training images)", plain.limit, 10, 10**9, "limit"),
            "sample_weights": _choice(
                one,
                "What counts more",
                list(SAMPLE_WEIGHTS),
                plain.sample_weights,
                "sample_weights",
                SAMPLE_WEIGHTS.get,
            ),
            "fit": _choice(three, "How a rectangle becomes a square", list(FITS), plain.fit, "fit", FITS.get),
            "seed": _number(two, "Seed", plain.seed, 0, 2**31 - 1, "seed") or plain.seed,
        }
        values["mirror"] = _choice(
            one, "Both sides of an image", [True, False], plain.mirror, "mirror", SIDES.get,
            help="Learn from mirror images as well, and answer from both sides of an image, in twice the time. Not for "
            "things whose left and right differ: arrows, written words.",
        )  # fmt: skip
        name = three.text_input(
            "Name of the run", key="train_name", max_chars=80, placeholder="made from bucket and time"
        )
        values |= _weights(plain)
    return dataclasses.replace(config, **{k: v for k, v in values.items() if v is not None}), name.strip()


def _weights(plain: TrainConfig) -> dict:
    options = ["as above", "imagenet", "none", "file"]
    words = {
        "as above": f"as above ({plain.weights})",
        "imagenet": "learned on ImageNet (downloaded when not here yet)",
        "none": "random",
        "file": "a weights file on the server",
    }
    kind = st.selectbox("Start from", options, format_func=words.get, key="train_weights")
    path = st.text_input("Path of the weights file", key="train_weights_path") if kind == "file" else ""
    allow = st.checkbox(
        "Go on from random weights if the ImageNet ones cannot be reached",
        value=bool(plain.allow_random),
        key=f"train_allow_random_{plain.bucket}",
        help="Without this, such a run stops and says what to do. From random weights it needs far more images.",
    )
    weights = {"as above": None, "file": path or None}.get(kind, kind)
    return {"weights": weights, "allow_random": allow}


def _number(column, label: str, default, low: int, high: int, key: str):
    return column.number_input(
        label,
        low,
        high,
        value=None,
        step=1,
        placeholder="all" if default is None else f"{default}",
        key=f"train_{key}",
    )


def _choice(column, label: str, options: list, default, key: str, words=str, help: str | None = None):
    return column.selectbox(
        label,
        options,
        index=None,
        format_func=lambda value: str(words(value)),
        placeholder=str(words(default)),
        key=f"train_{key}",
        help=help,
    )


def say_what_will_happen(config: TrainConfig, table) -> None:
    """One sentence with the settings that matter, the time it will take, and where the weights come from."""
    images = sum(split_counts(table, config.limit).values())
    passes = f"{config.fine_tune_epochs} passes of fine-tuning" if config.fine_tune_epochs else "no fine-tuning"
    st.markdown(
        f"{wording.count(images, 'image')} at {config.image_size} px, MobileNetV2 of width {config.alpha:g}, {passes}."
    )
    show_time(config, table)
    if config.weights == "none":
        st.caption(
            ":material/info: Starts from random weights, so nothing is downloaded; it learns only what these images "
            "teach."
        )
    elif config.weights == "imagenet" and config.allow_random:
        st.caption(
            ":material/info: Starts from ImageNet weights; if they cannot be reached it goes on from random ones, and "
            "the run says so."
        )
    elif config.weights == "imagenet":
        st.caption(
            ":material/info: Starts from ImageNet weights; if they cannot be reached the run stops and says what to do."
        )


@st.cache_data(ttl=60, max_entries=8, show_spinner="Measuring how fast this machine is")
def _speed(runs: str, cache: str) -> tuple[dict[str, float], float]:
    """What past runs here, or a probe of three seconds at most, say about this machine."""
    return speed(cached.settings())


def show_time(config: TrainConfig, table) -> None:
    """The time it will take, with its stages and what the figure rests on."""
    settings = cached.settings()
    found = estimate(config, split_counts(table, config.limit), *_speed(settings.runs, str(settings.cache)))
    parts = ", ".join(
        f"{training.STAGES[stage].lower()} {wording.duration(seconds)}"
        for stage, seconds in found.stages.items()
        if seconds >= 1
    )
    basis = {"past runs": "from what past runs took here", "a probe": "from a short probe of this machine"}
    st.markdown(f"**About {wording.duration(found.seconds)}** on this machine, {basis[found.basis]}: {parts}.")


def place(row) -> str:
    """How many runs go before one that waits, in words; nothing for the others."""
    if row.state != "queued":
        return ""
    try:
        ahead = cached.run(row.id).status().position
    except VisrecError:  # deleted meanwhile
        return ""
    return f", {ahead} before it" if ahead else ", next"


def recent(rows: list) -> None:
    """The newest runs, each with its state and a button that puts it into focus."""
    if not rows:
        st.caption("None yet.")
        return
    for row in rows:
        text, button = st.columns([5, 1], vertical_alignment="center")
        on = f" on {row.split}" if row.split else ""
        accuracy = "" if row.accuracy is None else f"accuracy {wording.number(row.accuracy)}{on} · "
        state = f"{wording.STATES[row.state]}{place(row)}"
        text.markdown(
            f"{wording.STATE_ICONS[row.state]} **{widgets.escape(row.name)}** · {state} · "
            f"{accuracy}{wording.date(row.created)}"
        )
        page = "overview" if row.usable else "train"
        if button.button("Open", key=f"train_open_{row.id}", width="stretch"):
            frame.go(page, run=row.id)
    if len(rows) >= 8 and st.button("All runs", type="tertiary", icon=":material/history:", key="train_all"):
        frame.go("runs")
