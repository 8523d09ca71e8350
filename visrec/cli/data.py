"""``visrec demo``, ``buckets``, ``inspect`` and ``fetch``: what buckets there are, what is in them, and a new one."""

from pathlib import Path


def register(commands) -> None:
    """Add the commands."""
    demo = commands.add_parser("demo", help="make the two drawn demo buckets")
    demo.add_argument("--into", metavar="FOLDER", help="folder for the buckets (default: the first of VISREC_BUCKETS)")
    demo.set_defaults(call=make_demo, show=_show_demo)

    buckets = commands.add_parser("buckets", help="list the buckets there are")
    buckets.set_defaults(call=show_buckets, show=_show_buckets)

    inspect = commands.add_parser("inspect", help="what is in a bucket, and what is wrong with it")
    inspect.add_argument("bucket", metavar="BUCKET", help="name, path or s3://bucket/prefix")
    inspect.add_argument("--layout", help="read it as this layout instead of the one found")
    inspect.add_argument("--target", help="column to predict (default: the bucket's own)")
    inspect.add_argument("--by", help="attributes to watch, separated by commas (default: the bucket's own)")
    inspect.add_argument(
        "--decide", metavar="KIND=CHOICE", action="append", default=[], help="settle a problem; is kept"
    )
    inspect.set_defaults(call=inspect_bucket, show=_show_inspection)

    fetch = commands.add_parser(
        "fetch",
        help="bring a zip, a tar or FairFace from a public link into a new bucket",
        description="Bring a zip or tar with images and labels from a public link into a new bucket. An interrupted "
        "download goes on where it stopped; the bucket appears when it is whole. 'fairface' (0.6 GB) and "
        "'fairface-1.25' (2.1 GB) stand for FairFace's copy on Hugging Face, at a fixed revision.",
    )
    fetch.add_argument("url", metavar="URL", help="https://..., or fairface, or fairface-1.25")
    fetch.add_argument("bucket", metavar="BUCKET", help="name of the new bucket, a path, or s3://bucket/prefix")
    fetch.add_argument("--sha256", help="checksum that the file must have")
    fetch.add_argument("--recipe", metavar="NAME", help="archive, cloud-annotations or fairface (default: by the link)")
    fetch.set_defaults(call=fetch_bucket, show=_show_fetched)


def make_demo(args, settings) -> dict:
    """Make the demo buckets."""
    from visrec.cli.output import note
    from visrec.data.demo import make_demo_buckets

    folder = Path(args.into) if args.into else settings.buckets[0]
    note(f"Drawing the demo buckets in {folder} ...")
    return {"buckets": [{"name": path.name, "url": str(path.absolute())} for path in make_demo_buckets(folder)]}


def show_buckets(args, settings) -> list[dict]:
    """List buckets; a remote store that fails is said on standard error and in the exit code."""
    from dataclasses import asdict

    from visrec.cli.output import note
    from visrec.storage.buckets import list_buckets

    def failed(error) -> None:
        note(f"visrec: {error}")
        args.exit_code = error.exit_code

    return [asdict(bucket) for bucket in list_buckets(settings, on_error=failed)]


def inspect_bucket(args, settings) -> dict:
    """Read a bucket's labels, look at its images and say what is wrong."""
    from visrec.cli.bar import Bar
    from visrec.data.decisions import parse_decisions, save_decisions
    from visrec.data.doctor import inspect
    from visrec.storage.buckets import open_bucket

    decided = parse_decisions(args.decide)
    store = open_bucket(args.bucket, settings)
    if decided:
        save_decisions(settings.cache, store.url, decided)
    with Bar("Looking at the images") as bar:
        inspection = inspect(
            store,
            layout=args.layout,
            target=args.target,
            by=[name.strip() for name in args.by.split(",") if name.strip()] if args.by else None,
            cache_dir=settings.cache,
            progress=bar,
        )
    return inspection.to_json()


def fetch_bucket(args, settings) -> dict:
    """Make a bucket of what lies at a public link."""
    from visrec.cli.bar import Bar
    from visrec.data.recipes import check_bucket, recipe_for
    from visrec.storage.fetch import fetch

    recipe = recipe_for(args.url, args.recipe)
    counts, notes = [], []
    with Bar("Fetching") as bar:

        def progress(what: str, done: int, total: int) -> None:
            bar.title = f"{what} (MB)"
            if total:
                bar(done // 1_000_000, total // 1_000_000)

        made = fetch(
            recipe.links,
            args.bucket,
            settings,
            build=recipe.build,
            check=lambda folder: counts.append(check_bucket(folder, recipe)),
            sha256=args.sha256,
            progress=progress,
            note=notes.append,
        )
    name = made if isinstance(made, str) else made.name
    return {"bucket": {"name": name, "url": str(made)}, "images": counts[-1], "notes": notes}


def _show_fetched(result: dict) -> None:
    print(f"{result['bucket']['name']}  {result['images']:,} images  {result['bucket']['url']}")
    for note in result["notes"]:
        print(note)
    print(f"Next: visrec inspect {result['bucket']['name']}")


def _show_demo(result: dict) -> None:
    for bucket in result["buckets"]:
        print(f"{bucket['name']}  {bucket['url']}")
    print("Next: visrec train demo-faces, or `visrec app` to do it in the browser.")


def _show_buckets(result: list[dict]) -> None:
    from visrec.cli.output import columns

    if result:
        print(columns([[b["name"], b["kind"], b["url"]] for b in result], ["name", "kind", "url"]))
    else:
        print(
            "No buckets. `visrec demo` makes two; VISREC_BUCKETS names the folder yours lie in; BUCKET, ENDPOINT_URL,"
        )
        print("ACCESS_KEY_ID and SECRET_ACCESS_KEY lead to object storage.")


def _show_inspection(result: dict) -> None:
    from visrec.cli.output import columns

    print(f"{result['layout']}, {result['images']:,} images")
    splits = {split or "not split": count for split, count in result["splits"].items()}
    for title, counts in (("labels", result["labels"]), ("splits", splits), *result["attributes"].items()):
        print(f"\n{columns([[name, count] for name, count in counts.items()], [title, 'images'])}")
    if not result["problems"]:
        print("\nNo problems found.")
    for found in result["problems"]:
        print(f"\n{found['severity']}: {found['kind']} ({found['count']:,})\n  {found['advice']}")
        for example in found["examples"]:
            print(f"    {example}")
        if found["choices"]:
            chosen = result["decisions"].get(found["kind"], found["choices"][0])
            print(f"    --decide {found['kind']}=" + "|".join(found["choices"]) + f"  (in force: {chosen})")
