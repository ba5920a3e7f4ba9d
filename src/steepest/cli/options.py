"""Options that several commands have in common, each with one wording."""

from typing import Annotated

import typer


Program = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="A problem's name, FILE.py:OBJECT or FILE.py, as of `steepest check`.",
        show_default=False,
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Change the recipe; may be repeated.",
        show_default=False,
    ),
]
Updates = Annotated[
    int,
    typer.Option("--steps", help="Train for so many updates first, by the recipe."),
]
Examples = Annotated[
    int | None,
    typer.Option(
        "--examples",
        help="How many of the training examples the loss is taken on. [default: 2048]",
        show_default=False,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", help="The seed of everything random.", show_default=False),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Write the answer as JSON to stdout.")
]
NoBar = Annotated[bool, typer.Option("--no-progress", help="Show no bar.")]
