"""What ``predict`` and ``read`` share: many images in; lines, JSON objects or table rows out, to resume if stopped."""

from __future__ import annotations

import argparse
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import inkdigits
from inkdigits.atomic import check_output, is_stream, open_stream
from inkdigits.cli.common import BAD_IMAGE, FINE, Parser, add_settings, is_stdout, naming, print_errors, refuse_own
from inkdigits.errors import SettingError
from inkdigits.options import flag
from inkdigits.settings import Settings
from inkdigits.text import visible

if TYPE_CHECKING:
    from inkdigits.bulk.inputs import Chunk
    from inkdigits.bulk.run import Block, Job
    from inkdigits.bulk.task import Task
    from inkdigits.preprocess import Limits

__all__ = ["KEPT", "Counted", "add_bulk", "run_bulk"]

LAYOUT = 3  # version of the rows that are written; a stopped run resumes only with rows of the same version
#: Of each verdict, what one image and what more are counted as; the first is counted even if there are none.
Counted = Mapping[str, tuple[str, str]]
#: The end of each command's help.
KEPT = """\
With -o, finished rows are kept in OUT.part until all is done. A run that finds rows there stops,
and says how to resume with them or discard them.

exit code: 0 all read; 1 some image could not be read, the others were; 2 nothing was done
"""


def add_bulk(parser: Parser, *, accepted: str) -> None:
    """Add the images and the options that both commands have.

    Args:
        parser: of the command.
        accepted: what is accepted with enough confidence, such as "digits".
    """
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="an image file; a folder; a .tar or .zip archive; a .csv, .parquet or .npz table of 28×28 pixels, or a "
        ".parquet of encoded images; an IDX file; or - for one image on standard input",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json", help="print one JSON object per line")
    form.add_argument("--csv", dest="form", action="store_const", const="csv", help="print a CSV table")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="write to this file, which appears when all is done; .csv, .json, .jsonl and .parquet select the format; "
        "a pipe or a device is written directly",
    )
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument(
        "--resume",
        dest="begin",
        action="store_const",
        const="resume",
        default="new",
        help="continue a stopped run with the same options; needs -o",
    )
    begin.add_argument(
        "--restart",
        dest="begin",
        action="store_const",
        const="restart",
        help="discard the finished rows of a stopped run, if there are any; needs -o",
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=0,
        metavar="N",
        help="processes that share the work; 0: one per core (default: 0)",
    )
    parser.add_argument(
        "--engine",
        choices=("processes", "ray"),
        default="processes",
        metavar="NAME",
        help="what shares the work: processes of this machine, or ray: the tasks of a Ray cluster, with inkdigits[ray] "
        "(default: processes)",
    )
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=0.0,
        metavar="X",
        help=f"report {accepted} with less confidence, 0 to 1, as unsure instead of accepted (default: 0)",
    )
    add_settings(parser, ("model", "ray_address"))


def run_bulk(
    args: argparse.Namespace, task: Task, counted: Counted, *, command: str, no_table: str = "", profile: str = ""
) -> int:
    """Read images as the options say; return the exit code.

    Args:
        args: what :func:`add_bulk` added.
        task: what to read in each.
        counted: of each of the task's verdicts.
        command: its name, as rows of another command do not continue these.
        no_table: why the rows cannot be those of a table, if so.
        profile: path of the model's profile; "" for none.

    Raises:
        SettingError: an option cannot be used, an image is not there, or the output cannot be written.
    """
    settings = Settings.from_env(model=args.model, ray_address=args.ray_address)
    for path in args.images:
        if path != "-" and not _is_there(path):
            raise SettingError(f"there is no file or folder {path!r}")
    if args.images.count("-") > 1:
        raise SettingError("standard input (-) is given more than once; it holds one image")
    if args.processes < 0:
        raise SettingError(f"--processes must be 0 or more, not {args.processes}")
    if not 0 <= args.min_confidence <= 1:
        raise SettingError(f"--min-confidence must be from 0 to 1, such as 0.9, not {args.min_confidence:g}")
    through = is_stdout(args.output) or is_stream(args.output)
    if args.begin != "new" and through:
        raise SettingError(f"--{args.begin} needs -o OUT, a file")
    if args.begin == "resume" and "-" in args.images:
        raise SettingError("--resume needs images that are still there: no standard input")
    if args.engine != "ray" and args.ray_address:
        raise SettingError("--ray-address is for --engine ray")
    if args.engine == "ray" and settings.ray_address and args.processes:
        raise SettingError(f"--processes is not for a cluster that runs already ({settings.ray_address}): it has CPUs")
    from inkdigits.bulk import SUFFIXES, find_images
    from inkdigits.bulk.formats import ENDINGS, format_of
    from inkdigits.bulk.run import Job
    from inkdigits.cores import usable_cores
    from inkdigits.preprocess import Limits
    from inkdigits.profile import Profile

    if not through:
        check_output(args.output, endings=() if args.form else ENDINGS)
        refuse_own(args.output, [*(path for path in args.images if path != "-"), settings.model, profile])
    for path in args.images:
        if Path(path).is_dir() and not any(True for _ in find_images([path])):
            raise SettingError(f"there is no image in folder {path!r}; looked for {' '.join(SUFFIXES)}")
    named = "lines" if through else format_of(args.output)
    if args.form and named not in ("lines", args.form):
        raise SettingError(f"--{args.form} and -o {args.output} name two formats; leave out one, or rename the output")
    form = args.form or ("lines" if is_stdout(args.output) else format_of(args.output))
    if no_table and form in ("csv", "parquet"):
        raise SettingError(no_table)
    limits = Limits(max_pixels=settings.max_pixels, max_bytes=settings.max_bytes)
    promise = Profile.read(profile) if profile else None
    job = Job(settings.model or None, settings.threads, limits, form, task, promise)
    processes = args.processes or usable_cores()
    if args.engine == "ray":
        from inkdigits.bulk.cluster import blocks as on_cluster

        read = partial(on_cluster, job=job, processes=processes, address=settings.ray_address)
    else:
        from inkdigits.bulk.run import blocks

        read = partial(blocks, job=job, processes=processes)
    counts = _to_stream(args, job, read) if through else _to_file(args, job, read, command)
    return _print_counts(dict(zip(task.verdicts, counts, strict=True)), counted)


def _to_stream(args: argparse.Namespace, job: Job, read: Callable[[Iterator[Chunk]], Iterator[Block]]) -> list[int]:
    """Write to standard output, a pipe or a device; return the counts of each verdict."""
    from inkdigits.bulk.formats import heading, join

    counts = [0] * len(job.task.verdicts)
    contents = _contents(read(_chunks(args.images, job.limits)), counts)
    if is_stdout(args.output):
        sys.stdout.write(heading(job.form, job.task).decode())
        shown = _shown if job.form == "csv" and sys.stdout.isatty() else str
        sys.stdout.writelines(shown(content.decode()) for content in contents)
        sys.stdout.flush()  # so that the count comes behind the lines where both go to one place
    else:
        with naming(args.output), open_stream(args.output) as out:
            join(contents, job.form, job.task, out)
    return counts


def _contents(blocks: Iterator[Block], counts: list[int]) -> Iterator[bytes]:
    """Yield the content of blocks, print their errors, and add to the counts of each verdict."""
    for block in blocks:
        yield block.content
        print_errors(block.errors)
        counts[:] = [before + n for before, n in zip(counts, block.counts, strict=True)]


def _to_file(
    args: argparse.Namespace, job: Job, read: Callable[[Iterator[Chunk]], Iterator[Block]], command: str
) -> list[int]:
    """Write to a file by way of a journal; return the counts of each verdict."""
    from inkdigits.bulk.journal import Journal
    from inkdigits.network import find_model, shipped_network
    from inkdigits.progress import bars

    _, path, entry = find_model(job.model)
    about = {  # all that a row depends on
        "command": command,
        "version": inkdigits.__version__,
        "inputs": [_state(path) for path in args.images],
        "model": [entry.get("sha256") or _state(path), *(shipped_network(name)[1] for name in job.task.networks)],
        "form": job.form,
        "limits": [job.limits.max_bytes, job.limits.max_pixels],
        **({"profile": [job.profile.sha256, job.profile.threshold]} if job.profile else {}),
        **{flag(name): value for name, value in asdict(job.task).items()},
        "layout of rows": LAYOUT,
    }
    with naming(args.output):
        journal = Journal(Path(args.output), job, about, begin=args.begin)
        try:
            with bars()("reading", None, "") as advance:
                advance(journal.rows)
                for block in read(journal.rest(_chunks(args.images, job.limits))):
                    journal.add(block)
                    print_errors(block.errors)
                    advance(block.rows)
            journal.finish()
        except SettingError:
            raise
        except BaseException:
            if journal.rows:
                kept = visible(str(journal.path))
                print(f"inkdigits: {journal.rows:,} rows are kept in {kept}; --resume continues", file=sys.stderr)
            raise
        finally:
            journal.close()
    return journal.counts


def _chunks(paths: Sequence[str], limits: Limits) -> Iterator[Chunk]:
    from inkdigits.bulk.inputs import Chunk, chunks

    for is_input, given in groupby(paths, key="-".__eq__):
        if is_input:
            yield Chunk(["-"], [sys.stdin.buffer.read(limits.max_bytes + 1)])
        else:
            yield from chunks(given, limits)


def _print_counts(found: Mapping[str, int], counted: Counted) -> int:
    """Print how many of several images have each verdict; return the exit code."""
    first = next(iter(counted))
    if (total := sum(found.values())) > 1:
        told = ", ".join(counted[v][n != 1].format(n) for v, n in found.items() if n or v == first)
        print(f"inkdigits: {total:,} images: {told}", file=sys.stderr)
    return BAD_IMAGE if found["error"] else FINE


def _is_there(path: str) -> bool:
    """Return whether the path exists; an inaccessible one does, and its row will say why."""
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return True


def _shown(text: str) -> str:
    """Escape lines of CSV for a terminal."""
    return "".join(visible(line) + "\n" for line in text.split("\n")[:-1])


def _state(path: str | Path) -> list[str | int]:
    """Return what identifies a file's version: path, size in bytes and time of change; of a folder the path alone."""
    try:
        found = Path(path).stat()
    except OSError:  # as in :func:`_is_there`; or standard input
        return [str(path)]
    return [str(path)] if stat.S_ISDIR(found.st_mode) else [str(path), found.st_size, found.st_mtime_ns]
