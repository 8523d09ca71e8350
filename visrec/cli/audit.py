"""``visrec audit``: for whom does a model fail, and which of its gaps are more than chance?"""

from pathlib import Path

from visrec.errors import InputError, NotFoundError, OutsideError

TABLE_ENDINGS = {".csv", ".parquet", ".pq", ".txt"}


def register(commands) -> None:
    """Add ``audit``."""
    audit = commands.add_parser("audit", help="rates, gaps and verdicts by subgroup, of a run or of any table")
    audit.add_argument("target", metavar="RUN_OR_TABLE", help="a run, or a CSV or Parquet file of predictions")
    columns = audit.add_argument_group("columns of a table")
    columns.add_argument("--label", metavar="L", help="column with the true class (default: label)")
    columns.add_argument("--prediction", metavar="P", help="column with the predicted class (default: prediction)")
    columns.add_argument("--score", metavar="C", action="append", help="column with scores 0..1; may be repeated")
    columns.add_argument("--score-class", metavar="V", help="class that a single score column speaks for")
    columns.add_argument("--file-column", metavar="F", default="file", help="column with file names (default: file)")
    columns.add_argument("--attributes", metavar="TABLE", help="a second table with attributes, joined by file name")
    columns.add_argument("--bin", metavar="A=E,E", action="append", default=[], help="edges for a numeric attribute")
    columns.add_argument("--keep", metavar="NAME", help="keep the table as a run of that name, for the pages")
    columns.add_argument("--images", metavar="BUCKET", help="keep it as a run whose images lie in this bucket")
    asked = audit.add_argument_group("what is asked")
    asked.add_argument("--by", metavar="A[,A]", help="attributes to cross (a run: those it watched)")
    asked.add_argument("--outcome", metavar="V", default="correct", help="correct (default), or a class")
    asked.add_argument("--privileged", metavar="A=V", action="append", help="reference group (default: the largest)")
    asked.add_argument("--where", metavar="A=V[,A=V]", action="append", help="filter; comma is and, again is or")
    asked.add_argument("--split", metavar="S", help="rows of this split (default: test, else val, if there are splits)")
    asked.add_argument("--min-count", metavar="N", type=int, default=30, help="images a rate must rest on (default 30)")
    asked.add_argument("--missing", choices=("leave", "wrong"), default="leave", help="what no prediction counts as")
    asked.add_argument("--scan", action="store_true", help="also search for the worst subgroup over all attributes")
    asked.add_argument("--no-aif360", action="store_true", help="leave AIF360 out (saves seconds)")
    asked.add_argument("--seed", type=int, default=0, help="of the redraws (default 0)")
    asked.add_argument("--replicates", type=int, default=2000, help="number of redraws (default 2000)")
    audit.add_argument("--policy", metavar="FILE", help="rules in YAML; exit code 1 if one is not kept")
    audit.add_argument("-o", "--output", metavar="report.html", help="write the audit as one HTML page")
    audit.set_defaults(call=audit_one, show=_show)


def audit_one(args, settings) -> dict:
    """Audit a run or a table; the result is the document of DESIGN section 5."""
    from visrec.audit.engine import audit

    rules = None if args.policy is None else _policy(args.policy)
    predictions, by = _predictions(args, settings)
    result = audit(
        predictions,
        by=by,
        outcome=args.outcome,
        privileged=args.privileged,
        where=args.where,
        min_count=args.min_count,
        missing=args.missing,
        seed=args.seed,
        replicates=args.replicates,
    )
    document = {"source": args.target, "split": args.split} | result.to_json(aif360=not args.no_aif360)
    if args.scan:
        document["subset"] = _scanned(result)
    rulings = _ruled(result, rules, document, args)
    if args.keep or args.images:
        document["kept_as"] = _keep(args, settings)
    if args.output:
        _write_report(args.output, result, rulings, not args.no_aif360)
        document["report"] = args.output
    return document


def _predictions(args, settings):
    """The counted predictions and the crossing: from a table of one's own, or from a run."""
    from visrec.audit.cube import parse_where
    from visrec.audit.predictions import load_predictions
    from visrec.audit.splits import default_split

    named = [*_split_names(args.by), *parse_where(args.where or []), *parse_where(args.privileged or [])]
    options = {
        "scores": _split_names(",".join(args.score)) if args.score else None,
        "score_class": args.score_class,
        "attributes": None if args.scan else list(dict.fromkeys(named)),
        "bins": _bins(args.bin),
        "file": args.file_column,
        "attribute_table": args.attributes,
    }
    if _is_table(args.target):
        if args.keep or args.images:
            _require_keepable(args.target)
        args.split = args.split or default_split(args.target)
        label, prediction = args.label or "label", args.prediction or "prediction"
        options |= {"label": label, "prediction": prediction, "split": args.split}
        return load_predictions(args.target, **options), _split_names(args.by)
    if args.keep or args.images:
        raise InputError(
            f"--keep and --images are for a table; '{args.target}' is not a file, so it is taken for a run."
        )
    return _of_run(args, settings, options)


def _require_keepable(target: str) -> None:
    from visrec.runs.import_table import require_keepable

    require_keepable(target)


def _keep(args, settings) -> str:
    """Keep the table as an imported run; its id."""
    from visrec.runs.import_table import Columns, import_table

    columns = Columns(
        label=args.label or "label",
        prediction=args.prediction or "prediction",
        scores=tuple(_split_names(",".join(args.score or []))),
        score_class=args.score_class,
        bins=_bins(args.bin),
        file=args.file_column,
        split=args.split,
        attribute_table=args.attributes,
    )
    by = _split_names(args.by)
    return import_table(args.target, settings, columns, name=args.keep, images=args.images, by=by).id


def _of_run(args, settings, options):
    from visrec.audit.predictions import load_predictions
    from visrec.audit.splits import default_split
    from visrec.runs.record import open_runs

    for option in ("label", "prediction", "score", "score_class"):
        if getattr(args, option):
            raise InputError(
                f"--{option.replace('_', '-')} names a column of a table, but '{args.target}' is not a file, so it is "
                "taken for a run, whose columns are known."
            )
    run = open_runs(settings).open(args.target)
    by = _split_names(args.by) or list(run.record.get("by") or [])
    frame = run.predictions()
    args.split = args.split or default_split(frame)
    if options["attributes"] is not None:
        options["attributes"] = list(dict.fromkeys([*by, *options["attributes"]]))
    options |= {"split": args.split, "labels": run.labels(), "score_class": None}
    return load_predictions(frame, **options), by


def _is_table(target: str) -> bool:
    return Path(target).is_file() or Path(target).suffix.lower() in TABLE_ENDINGS


def _split_names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _bins(texts: list[str]) -> dict:
    from visrec.audit.encode import parse_bins

    return dict(parse_bins(text) for text in texts)


def _policy(path: str):
    from visrec.audit.policy import read_policy

    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"There is no policy file '{path}'.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The policy '{path}' cannot be read ({error}).") from None
    import yaml

    try:
        return read_policy(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise InputError(f"The policy '{path}' is not YAML ({str(error).splitlines()[0]}).") from None


def _ruled(result, rules, document: dict, args) -> list:
    if rules is None:
        return []
    from visrec.audit.policy import check, policy_document

    rulings = check(result, rules)
    document["policy"] = policy_document(rulings)
    if not document["policy"]["passed"]:
        args.exit_code = 1
    return rulings


def _scanned(result) -> dict:
    found = result.subset
    return {
        "rate": found.rate,
        "worse": found.worse,
        "subset": {name: list(values) for name, values in found.narrowed.items()},
        "score": found.score,
        "p": found.p,
        "n": found.n,
        "value": found.value,
        "overall": found.overall,
        "attributes": list(found.attributes),
        "sentence": found.sentence(),
    }


def _write_report(path: str, result, rulings: list, aif360: bool) -> None:
    from visrec.audit.report_html import render

    target = Path(path)
    temporary = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(render(result, rulings, aif360), encoding="utf-8")
        temporary.replace(target)
    except OSError as error:
        raise OutsideError(f"The report could not be written to '{path}' ({error}).") from None


def _show(document: dict) -> None:
    """The audit for people: what was audited, the cells, and what can be said."""
    from visrec.cli.output import columns

    split = f", split {document['split']}" if document["split"] else ""
    print(f"{document['rows']:,} rows of {document['rows_total']:,}{split}; outcome {document['outcome']}.")
    for skip in document["skipped"]:
        print(f"left out: {skip['count']:,} x {skip['reason']} ({', '.join(skip['examples'])})")
    rates = [r for r in ("accuracy", "selection_rate", "tpr", "fpr", "ppv") if document["overall"][r]["n"]]
    by = document["by"]
    rows = [[*(c[name] for name in by), *_row(c, rates, document["min_count"])] for c in document["cells"]]
    rows.append([*(["all"] * max(len(by), 0)), *_row(document["overall"], rates)] if by else [])
    if by:
        print("\n" + columns(rows, [*by, "n", *rates]))
    else:
        print("\n" + columns([_row(document["overall"], rates)], ["n", *rates]))
    print()
    for gap in document["gaps"]:
        print(gap["sentence"])
    if "subset" in document:
        print(document["subset"]["sentence"])
    if "kept_as" in document:
        print(f"Kept as run {document['kept_as']}.")
    for ruling in document.get("policy", {}).get("rules", []):
        print(ruling["sentence"])


def _row(cell: dict, rates: list[str], least: int = 0) -> list:
    return [cell["n"], *(_shown(cell[rate], cell["n"], least) for rate in rates)]


def _shown(rate: dict, cell_rows: int, least: int) -> str:
    """A rate with its interval, and how many rows it rests on where not the cell's; unknown below ``least``."""
    if rate["value"] is None or rate["n"] < least:
        return f"unknown, n = {rate['n']:,}"
    rests = f", n = {rate['n']:,}" if rate["n"] != cell_rows else ""
    return f"{rate['value']:.3f} ({rate['low']:.3f}-{rate['high']:.3f}){rests}"
