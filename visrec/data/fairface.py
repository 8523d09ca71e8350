"""The FairFace layout: ``fairface_label_train.csv`` and ``fairface_label_val.csv`` with perceived age, gender and race.

Public copies carry damage: ages that a spreadsheet read as dates (``03-Sep`` is 3-9, ``Oct-19`` is 10-19), ``70+`` for
"more than 70", TRUE for True, a folder too many in the file names, tables cut after 5,000 rows. What is safe to mend
is mended on reading and named; the bucket is never changed.

Reference: Karkkainen and Joo, FairFace, WACV 2021.
"""

import re

import pandas as pd

from visrec.data.problems import Problem, problem
from visrec.data.table import (
    BucketTable,
    Source,
    choose_columns,
    drop_repeated,
    label_problems,
    labelled_rows,
    match_files,
    normalise_splits,
    read_table,
    unique_names,
)

LABEL_FILE = re.compile(r"(?:.*/)?fairface_labels?_(?P<split>[a-z]+)(?P<rest>[^/]*)\.csv$", re.IGNORECASE)
AGES = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
GENDERS = ("Male", "Female")
RACES = ("White", "Black", "East Asian", "Southeast Asian", "Indian", "Middle Eastern", "Latino_Hispanic")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
OLDEST = {"70+", ">70", ">=70", "70 +", "more than 70", "over 70", "70 or more", "70 and over", "70-"}
REPAIR = ["repair", "keep"]
DEFAULTS = {"target": "gender", "by": ["race", "age"]}
KNOWN = {"age": AGES, "gender": GENDERS, "race": RACES, "service_test": ("True", "False")}


def detect(source: Source) -> bool:
    """Whether there is a FairFace label file."""
    return bool(label_files(source.objects))


def label_files(keys) -> dict[str, str]:
    """Label file -> split."""
    found = {}
    for key in keys:
        if match := LABEL_FILE.match(key):
            found[key] = match["split"].lower()
    return found


def read(source: Source) -> BucketTable:
    """Read every label file of the bucket."""
    tables, problems, missing = [], [], []
    for key, split in label_files(source.objects).items():
        table, absent, found = _read_file(source, key, split)
        tables.append(table)
        missing += absent
        problems += found
    samples = pd.concat(tables, ignore_index=True)
    samples, damage, repairs = repair(samples, source.decision)
    problems += damage
    samples["split"], found = normalise_splits(samples["split"])
    problems += found
    samples, found = drop_repeated(samples, [c for c in samples.columns if c not in ("file", "split")])
    problems += found
    unlabelled = sorted(set(source.images) - set(samples["file"]))
    problems += label_problems(source, samples, missing, unlabelled)
    problems += _cut(tables, unlabelled)
    targets, attributes = choose_columns(samples)
    return BucketTable(
        "fairface", samples, _first(targets, ("gender", "race", "age")), _first(attributes, ("race", "age", "gender")),
        _defaults(samples), problems, repairs,
    )  # fmt: skip


def repair(samples: pd.DataFrame, decide=lambda kind, choices: choices[0]) -> tuple[pd.DataFrame, list, list[str]]:
    """Bring ages, genders, races and service_test to FairFace's own spelling.

    Parameters
    ----------
    samples : columns as they came, text
    decide : kind, choices -> the choice in force; ``keep`` leaves that kind of damage as it is

    Returns
    -------
    samples, problems, repairs
        A new table; ``excel_damage`` and ``alias_value`` problems; one sentence per kind of repair.

    Examples
    --------
    >>> repair(pd.DataFrame({"file": ["1.jpg", "2.jpg"], "age": ["03-Sep", "70+"]}))[0]["age"].to_list()
    ['3-9', 'more than 70']
    """
    samples = samples.copy()
    problems, repairs = [], []
    for column, known in KNOWN.items():
        if column not in samples:
            continue
        values = samples[column].dropna().unique()
        mended = {value: canonical(value, column) for value in values}
        changed = {old: new for old, new in mended.items() if old != new}
        excel = {old: new for old, new in changed.items() if column == "age" and un_excel(old) in known}
        alias = {old: new for old, new in changed.items() if old not in excel}
        for kind, part, why in (
            ("excel_damage", excel, "a spreadsheet took these ages for dates"),
            ("alias_value", alias, f"these are other spellings of known values of {column}"),
        ):
            if part:
                shown = [f"{column}: {old} -> {new}" for old, new in sorted(part.items())]
                mend = decide(kind, REPAIR) == "repair"
                done = "Repaired on reading" if mend else "Kept, as decided"
                problems.append(problem(kind, "info", shown, f"{done}: {why}. The bucket is not changed.", REPAIR))
                if mend:
                    samples[column] = samples[column].replace(part)
                    repairs += [f"{kind}: {line}" for line in shown]
        samples[column] = samples[column].astype("str")
        strange = sorted(set(samples[column].dropna()) - set(known))
        if strange and column != "service_test":
            advice = f"FairFace knows {', '.join(known)} for {column}; these values are kept as they are."
            problems.append(problem("unknown_value", "warning", [f"{column}: {v}" for v in strange], advice))
    return samples, problems, repairs


def canonical(value: str, column: str) -> str:
    """One value in FairFace's spelling, or as it came if it is none of FairFace's.

    >>> canonical("latino hispanic", "race"), canonical("Oct-19", "age"), canonical("TRUE", "service_test")
    ('Latino_Hispanic', '10-19', 'True')
    """
    if column == "age":
        value = un_excel(value) or value
        if " ".join(value.lower().split()) in OLDEST:
            return "more than 70"
        value = re.sub(r"\s*[-\u2010-\u2015]\s*", "-", value) if value[:1].isdigit() else value
    folded = {_fold(known): known for known in KNOWN[column]}
    return folded.get(_fold(value), value)


def un_excel(value: str) -> str | None:
    """The age range that a spreadsheet turned into a date, or None if it is no such date.

    >>> un_excel("03-Sep"), un_excel("Oct-19"), un_excel("9-Mar"), un_excel("2021-09-03"), un_excel("20-29")
    ('3-9', '10-19', '3-9', '3-9', None)
    """
    text = value.strip().lower()
    if match := re.fullmatch(r"(\d{1,2})[-. ]([a-z]{3})[a-z]*\.?", text):
        return _range(int(match[1]), match[2])
    if match := re.fullmatch(r"([a-z]{3})[a-z]*\.?[-. ](\d{1,2}|\d{4})", text):
        return _range(int(match[2]) % 100, match[1])
    if match := re.fullmatch(r"\d{4}-(\d{2})-(\d{2})(?:[ t]00:00:00.*)?", text):
        return _range(int(match[2]), MONTHS[int(match[1]) - 1] if 1 <= int(match[1]) <= 12 else "")
    return None


def _range(number: int, month: str) -> str | None:
    if month not in MONTHS:
        return None
    low, high = sorted((number, MONTHS.index(month) + 1))
    # a date in a column of ages can only have been a range; 01-Oct is 10-19 where the year was 2019
    return f"{low}-{high}" if f"{low}-{high}" in AGES else None


def _fold(value: str) -> str:
    return re.sub(r"[\s_]+", " ", value.strip().lower())


def _read_file(source: Source, key: str, split: str) -> tuple[pd.DataFrame, list[str], list[Problem]]:
    table = read_table(source.store.read(key), key)
    column = next((c for c in table.columns if c.lower() in ("file", "path", "image", "filename")), table.columns[0])
    files = table[column]
    labels = table.drop(columns=column)
    labels.columns = unique_names(c.lower() if c.lower() in KNOWN else c for c in labels)
    folder = key.rpartition("/")[0] + "/" if "/" in key else ""
    keys = match_files(files, source.images, folder, f"{folder}{split}/")
    moved = files[keys.notna() & (keys != files)]
    problems = []
    if len(moved):
        shown = [f"{old} -> {new}" for old, new in zip(moved, keys[moved.index], strict=True)]
        advice = f"{key} names files with other folders than the bucket has; they were matched by the rest of the name."
        problems.append(problem("path_prefix", "info", shown, advice))
    absent = [f"{name} ({key})" for name in files[keys.isna()].fillna("(no name)")]
    return labelled_rows(labels, keys, split), absent, problems


def _defaults(samples: pd.DataFrame) -> dict:
    """FairFace's target and attributes, as far as this copy has them."""
    by = [name for name in DEFAULTS["by"] if name in samples]
    return {"target": DEFAULTS["target"], "by": by} if DEFAULTS["target"] in samples else {"by": by}


def _cut(tables: list[pd.DataFrame], unlabelled: list[str]) -> list[Problem]:
    rows = [len(table) for table in tables]
    if not unlabelled or not any(n and n % 1000 == 0 for n in rows):
        return []
    advice = "A label file ends after a round number of rows while images are left unlabelled; get the whole file."
    return [problem("cut_label_file", "warning", [f"{n:,} rows" for n in rows if n and n % 1000 == 0], advice)]


def _first(columns: list[str], wanted: tuple[str, ...]) -> list[str]:
    return sorted(columns, key=lambda c: wanted.index(c) if c in wanted else len(wanted))
