"""Shape annotations are checked at run time in every test; warnings are errors (pyproject)."""

from jaxtyping import install_import_hook

install_import_hook(["peluche.nn", "peluche.models", "peluche.objectives"], "beartype.beartype")
