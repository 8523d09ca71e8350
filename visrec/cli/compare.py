"""The command that compares two runs: ``compare``."""


def register(commands) -> None:
    """Add the command."""
    text = "compare two runs on the same images"
    command = commands.add_parser("compare", help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(call=compare_runs, show=show_comparison)
    add = command.add_argument
    add("run", metavar="RUN", help="the run to compare with: id, name, start of an id, or 'latest'")
    add("other", metavar="RUN", help="the run that may be better")
    add("--by", help="attributes that make groups, separated by commas (default: those watched, else the first two)")
    add("--split", help="rows to compare (default: test, else val)")
    add("--min-count", type=int, default=30, metavar="N", help="images a group needs to be tested (default 30)")
    add("--seed", type=int, default=0, help="of the bootstrap (default 0)")


def compare_runs(args, settings) -> dict:
    """``visrec compare``: paired on the same images."""
    from visrec.cli.runs import names
    from visrec.runs import compare
    from visrec.runs.record import open_runs

    runs = open_runs(settings)
    a, b = runs.open(args.run), runs.open(args.other)
    found = compare.compare_runs(
        a, b, by=names(args.by), split=args.split, min_count=args.min_count, seed=args.seed
    )  # fmt: skip
    return compare.document(a, b, found)


def show_comparison(result: dict) -> None:
    """The sentence, the cells that were tested, what could not be paired, and the settings that differ."""
    from visrec.cli.output import columns

    print(result["sentence"])
    split = result["splits"][1]
    print(f"Compared on {result['rows']:,} images that both answered{f' (split {split})' if split else ''}.")
    print("Differences in points, second minus first, with 95 % intervals:")
    attributes = list(dict.fromkeys(k for row in result["cells"] for k in row if k not in result["overall"]))
    rows = [["all", *_figures(result["overall"])]]
    enough = [row for row in result["cells"] if row["n"] >= result["min_count"]]
    for row in enough:
        rows.append([" · ".join(str(row[k]) for k in attributes if k in row), *_figures(row)])
    print(columns(rows, ["group", "n", "first", "second", "difference", "low", "high", "p (Holm)", "verdict"]))
    if small := len(result["cells"]) - len(enough):
        print(f"Too few images (under {result['min_count']}) in {small} more groups; --json has their figures.")
    for item in result["skipped"]:
        print(f"Left out: {item['count']:,} {item['reason']} ({', '.join(item['examples'])}).")
    for key, (first, second) in result["settings"].items():
        print(f"Differs: {key}: {first} and {second}")


def _figures(row: dict) -> list[str]:
    p = row["p_holm"]
    points = [f"{100 * row[key]:+.1f}" for key in ("difference", "low", "high")]
    return [
        f"{row['n']:,}", f"{row['accuracy_a']:.3f}", f"{row['accuracy_b']:.3f}", *points,
        f"{p:.3f}" if p == p else "", row["verdict"],
    ]  # fmt: skip
