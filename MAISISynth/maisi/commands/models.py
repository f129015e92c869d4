"""``maisi models``: list, download, verify, import and remove models."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from maisi.commands.console import ProgressBar, print_rows
from maisi.commands.parsing import add_command
from maisi.errors import WeightsError


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``models`` and what can be done with them; alone it lists them."""
    models = add_command(commands, "models", _list, "List, download, verify, import or remove models.")
    actions = models.add_subparsers(title="actions", metavar="ACTION")
    listed = add_command(actions, "list", _list, "List the models and whether their weights are here (the default).")
    for parser in (models, listed):
        parser.add_argument("--json", action="store_true", help="as one line of JSON, for programs")

    get = add_command(actions, "download", _download, "Fetch released weights; goes on where an earlier one stopped.")
    get.add_argument("model", metavar="MODEL", help="see: maisi models list")
    bring = add_command(actions, "import", _import, "Copy released weights from a folder, a zip or a file.")
    bring.add_argument("source", type=Path, metavar="SOURCE")
    for made in (get, bring):
        made.add_argument("--accept-license", action="store_true", help="you have read and accept the weights' license")
    get.add_argument("--convert", action="store_true", help="also write half-precision copies: a faster start on a GPU")
    get.add_argument("--drop-original", action="store_true", help="with --convert: keep the half-precision copies only")

    check = add_command(actions, "verify", _verify, "Read weight files and compare their checksums.")
    check.add_argument("model", metavar="MODEL", nargs="?", help="default: all that are here")
    away = add_command(actions, "remove", _remove, "Delete downloaded weights.")
    away.add_argument("model", metavar="MODEL")


def _list(options: argparse.Namespace) -> None:
    from maisi.models.store import listing

    found = listing()
    if options.json:
        print(json.dumps(found))
        return
    rows = [("NAME", "TITLE", "IMAGE", "LICENSE", "WEIGHTS")]
    for model in found["models"]:
        size = f"{model['size'] / 1e6:.0f} MB"
        away = f"{model['missing']} of {model['files']} files missing, {size}" if model["size"] else "not downloaded"
        state = away if model["missing"] else f"installed, {size}"
        rows.append((model["name"], model["title"], model["image"].upper(), model["license"], state))
    print_rows(rows)
    print(f"Models folder: {found['folder']}")


def _download(options: argparse.Namespace) -> None:
    from maisi.models.download import download
    from maisi.models.variants import get_variant

    variant = get_variant(options.model)
    if options.drop_original and not options.convert:
        raise WeightsError("--drop-original needs --convert, or no weights would be left; give both.")
    _settle_licenses((file.license for file in variant.weights), options.accept_license)
    with ProgressBar() as progress:
        fetched = download(variant, progress)
    print(f"{variant.name}: {len(fetched)} files fetched, {len(variant.weights) - len(fetched)} were here.")
    if options.convert:
        from maisi.models.half import convert

        _tell("Half precision", convert(variant, options.drop_original))


def _import(options: argparse.Namespace) -> None:
    from maisi.models.importing import find_weights, import_weights

    _settle_licenses((file.license for file in find_weights(options.source)), options.accept_license)
    _tell("Imported", import_weights(options.source))


def _verify(options: argparse.Namespace) -> None:
    from maisi.models.store import stored, verify
    from maisi.models.variants import get_variant, variants

    known = [get_variant(options.model)] if options.model else [v for v in variants().values() if stored(v).installed]
    for variant in known:
        for path, sha256 in verify(variant):
            print(f"{variant.name}: {path.name} {'is intact' if sha256 else 'is there, no checksum is known'}")


def _remove(options: argparse.Namespace) -> None:
    from maisi.models.store import remove
    from maisi.models.variants import get_variant

    _tell("Deleted", remove(get_variant(options.model)))


def _settle_licenses(names: Iterable[str], accepted: bool) -> None:
    """Show each license that is not accepted yet, and ask on a terminal; without one ``--accept-license`` is needed."""
    from maisi.models.licenses import LICENSES, accept, open_licenses, require

    for name in open_licenses(names):
        text = LICENSES[name]
        print(f"{name}{', for research only' if text.research_only else ''}\n  {text.summary}\n  {text.url}")
        if accepted or (sys.stdin.isatty() and input("Do you accept this license? [y/N] ").strip().lower() == "y"):
            accept([name])
        require([name])


def _tell(what: str, paths: list[Path]) -> None:
    for path in paths:
        print(f"{what}: {path}")
    if not paths:
        print(f"{what}: nothing")
