"""The house: imports only go down, nothing imports the command line, core stands alone, public names are documented."""

import ast
import re
from pathlib import Path

import pytest

import hashsieve

PACKAGE = Path(hashsieve.__file__).parent
ROOT = Path(__file__).resolve().parents[2]
FLOORS = ["errors", "model", "natives", "platform", "lists", "hashset", "scan", "alerts", "watch", "agent", "cli"]


def floor_of(module):
    """Number of the floor of a module below hashsieve, by its first part."""
    first = module.split(".")[0]
    if first.startswith("_") and first not in ("__init__", "__main__"):
        return FLOORS.index("natives")
    return FLOORS.index(first)


def imports_of(path):
    """Modules of hashsieve that a file imports, relative to the package, those under TYPE_CHECKING included."""
    here = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                base = here[: len(here) - node.level + 1]
            elif node.module and node.module.split(".")[0] == "hashsieve":
                base = ()
            else:
                continue
            module = node.module or ""
            if not node.level:
                module = module.partition(".")[2]
            target = ".".join([*base, *filter(None, [module])])
            yield from [target] if target else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (a.name.partition(".")[2] for a in node.names if a.name.startswith("hashsieve."))


MODULES = sorted(
    p for p in PACKAGE.rglob("*.py") if p.name not in ("__init__.py", "__main__.py") or p.parent != PACKAGE
)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_only_go_down(path):
    own = floor_of(".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    for target in imports_of(path):
        if target == "__version__":
            continue
        assert floor_of(target) <= own, f"{path.name} imports {target}"
        if "alerts" in path.relative_to(PACKAGE).parts:
            assert not target.startswith("scan"), f"{path.name} imports {target}"


def test_the_test_can_see_an_import_that_goes_up(tmp_path):
    assert floor_of("scan.scanner") > floor_of("lists.vics") > floor_of("_scan") > floor_of("model")
    found = set(imports_of(PACKAGE / "scan" / "scanner.py"))
    assert {"errors", "hashset.hashset", "platform.mounts", "scan.plan"} <= found


@pytest.mark.skipif(not (ROOT / "ext").is_dir(), reason="the native sources are not beside the tests")
def test_core_includes_the_c_library_and_itself_only_and_cython_modules_no_sibling():
    for path in sorted((ROOT / "ext" / "core").glob("*.[ch]")):
        for quoted in re.findall(r'#\s*include\s+"([^"]+)"', path.read_text()):
            assert quoted.startswith("hs_"), f"{path.name} includes {quoted}"
        assert "Python.h" not in path.read_text(), path.name
    for path in sorted((ROOT / "ext" / "hashsieve").glob("*.pyx")):
        for line in re.findall(r"^(?:from\s+hashsieve\S*\s+cimport.*|cimport\s+hashsieve.*)$", path.read_text(), re.M):
            assert "hashsieve.core" in line, f"{path.name}: {line}"


@pytest.mark.skipif(not (ROOT / "ext").is_dir(), reason="the native sources are not beside the tests")
def test_core_has_no_changeable_global_but_the_word_about_the_cpu():
    for path in sorted((ROOT / "ext" / "core").glob("*.c")):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
        for line in re.findall(r"^static\s+(?!const\b|inline\b)[^({=]+(?:=[^;]*)?;", text, re.M):
            assert "hs_cpu_word" in line, f"{path.name}: {line}"


def test_every_public_name_is_there_and_documented():
    for name in hashsieve.__all__:
        value = getattr(hashsieve, name)
        assert name == "__version__" or value.__doc__, name
    for cls in (hashsieve.HashSet, hashsieve.Scanner):
        for name, member in vars(cls).items():
            if not name.startswith("_") and (callable(member) or isinstance(member, property | classmethod)):
                assert getattr(member, "__doc__", None), f"{cls.__name__}.{name}"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        hashsieve.nothing  # noqa: B018
    assert set(hashsieve.__all__) == set(dir(hashsieve))
