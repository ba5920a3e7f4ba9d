"""Pages that are made from the package: the rules, and the reference of every room."""

import ast
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files


sys.path.insert(0, str(Path(__file__).parent))
import curvature_pictures
import pictures


ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "steepest"
FAMILIES = {
    "DAT": "Data",
    "PRG": "Program and loss",
    "INI": "Initial state",
    "NUM": "Numerics",
    "SIG": "Signal and gradient flow",
    "OPT": "Optimisation and curvature",
    "GEN": "Generalisation",
    "SEQ": "Sequences",
    "ADV": "Adversaries",
}
ROOMS = {
    "checkup": "The check-up",
    "training": "Training",
    "problems": "Problems",
    "learning": "Learning experiments",
    "optimize": "Descent",
    "curvature": "Curvature",
    "nn": "Networks",
    "numerics": "Numerics",
    "data": "Data",
    "core": "Core",
}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are generated."""
    pages = {"rules.md": rules()}
    pages |= {f"reference/{room}.md": reference(room) for room in ROOMS}
    pages["reference/index.md"] = top()
    drawn = pictures.pictures() | curvature_pictures.pictures()
    pages |= {f"images/{name}": text for name, text in drawn.items()}
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def rules() -> str:
    """Every rule: what it measures, its limits, what it explains."""
    from steepest.checkup import RULES

    titles = {rule.id: rule.title for rule in RULES}

    def names(ids: Any) -> str:
        return ", ".join(f"[{i}](#{i.lower()}) {titles[i]}" for i in ids if i in titles)

    out = [
        "# Rules",
        f"The check-up judges by {len(RULES)} rules. A rule reads what was measured and "
        "says what is wrong, or nothing; where something that it needs was not measured, "
        "the report says so. `steepest rules` and `steepest explain ID` show the same in "
        "a terminal; [Settings](how-to/settings.md) tells how to retune, silence and add "
        "rules.",
        "| rule | at most | what it finds |\n|---|---|---|\n"
        + "\n".join(
            f"| [{r.id}](#{r.id.lower()}) | {r.severity.name.lower()} | {r.title} |"
            for r in RULES
        ),
    ]
    for family, title in FAMILIES.items():
        members = [rule for rule in RULES if rule.id.startswith(family)]
        out += [f"## {title}"] if members else []
        for rule in members:
            causes = [other.id for other in RULES if rule.id in other.explains]
            out += [f"### {rule.id} {rule.title} {{ #{rule.id.lower()} }}", rule.doc]
            facts = [f"**Gravest severity**: {rule.severity.name.lower()}"]
            facts.append("**Needs**: " + ", ".join(f"`{n}`" for n in rule.needs))
            if rule.limits:
                limits = (f"`{rule.id}.{k}` = {v:g}" for k, v in rule.limits.items())
                facts.append("**Limits**: " + ", ".join(limits))
            if rule.explains:
                facts.append("**Can cause**: " + names(rule.explains))
            if causes:
                facts.append("**Can follow from**: " + names(causes))
            out.append("\n".join(f"- {fact}" for fact in facts))
    return "\n\n".join(out) + "\n"


def reference(room: str) -> str:
    """The public names of a room, each with its docstring."""
    folder = PACKAGE / room
    text = (folder / "__init__.py").read_text("utf-8")
    head = [f"# {ROOMS[room]}: `steepest.{room}`", docstring(text)]
    entries = [f"::: steepest.{room}.{name}" for name in imported(text)]
    for module in imported(text, modules=True):
        inside = folder / module / "__init__.py"
        if inside.exists():
            names = imported(inside.read_text("utf-8"))
        else:
            inside = folder / f"{module}.py"
            names = defined(inside.read_text("utf-8"))
        about = docstring(inside.read_text("utf-8"))
        entries += [f"## `steepest.{room}.{module}`", about]
        entries += [f"::: steepest.{room}.{module}.{name}" for name in names]
    return "\n\n".join([*head, *entries]) + "\n"


def docstring(text: str) -> str:
    return ast.get_docstring(ast.parse(text)) or ""


def imported(text: str, modules: bool = False) -> list[str]:
    """Names that a module imports from beside it; or the modules themselves."""
    return [
        alias.asname or alias.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.level == 1
        if (node.module is None) == modules
        for alias in node.names
    ]


def defined(text: str) -> list[str]:
    """Public functions and classes of a module, in its order."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    nodes = [n for n in ast.parse(text).body if isinstance(n, kinds)]
    return [n.name for n in nodes if not n.name.startswith("_")]


def top() -> str:
    """What `import steepest` gives, and where it is documented."""
    import steepest

    links = []
    for name in steepest.__all__:
        home = steepest._HOME[name].removeprefix(".").split(".")[0]
        links.append(f"| [`steepest.{name}`][steepest.{home}.{name}] | `{home}` |")
    table = "\n".join(["| name | room |", "|---|---|", *links])
    return (
        "# Reference\n\nThe names that a user meets first are those of `steepest` "
        "itself; the rooms hold the rest, one for each floor of the house "
        f"([Design](../design.md)).\n\n{table}\n"
    )
