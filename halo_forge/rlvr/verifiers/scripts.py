"""Scripts that run in the sandbox beside a program: parsers, and what prepares a run."""

from __future__ import annotations

__all__ = [
    "GRAMMAR_VERSION",
    "PARSE_BY_GRAMMAR",
    "PARSE_POWERSHELL",
    "PARSE_PYTHON",
    "RUN_BY_WINE",
]

PARSE_PYTHON = """\
import sys
try:
    with open("main.py", "rb") as file:
        compile(file.read(), "main.py", "exec", dont_inherit=True)
except Exception as error:
    what = getattr(error, "msg", None) or error
    where = f"main.py:{getattr(error, 'lineno', None) or 0}"
    print(f"{where}: {type(error).__name__}: {what}", file=sys.stderr)
    sys.exit(1)
"""

PARSE_POWERSHELL = """\
$problems = $null
[void][System.Management.Automation.Language.Parser]::ParseFile(
    "$PWD/main.ps1", [ref]$null, [ref]$problems)
foreach ($one in $problems) {
    [Console]::Error.WriteLine("main.ps1:$($one.Extent.StartLineNumber): $($one.Message)")
}
exit [int]($problems.Count -gt 0)
"""

PARSE_BY_GRAMMAR = """\
import sys
sys.path.append(sys.argv[1])
import tree_sitter, tree_sitter_pwsh
with open("main.ps1", "rb") as file:
    source = file.read()
tree = tree_sitter.Parser(tree_sitter.Language(tree_sitter_pwsh.language())).parse(source)
nodes, found = [tree.root_node], None
while nodes and found is None:
    node = nodes.pop()
    if node.is_error or node.is_missing:
        found = node
    nodes += [child for child in reversed(node.children) if child.has_error or child.is_missing]
if found is not None:
    text = source[found.start_byte:found.end_byte].decode("utf-8", "replace").split("\\n")[0][:60]
    what = "something is missing" if found.is_missing else "unexpected " + repr(text)
    print(f"main.ps1:{found.start_point[0] + 1}: {what}", file=sys.stderr)
    sys.exit(1)
"""

GRAMMAR_VERSION = """\
import sys
from importlib.metadata import version
sys.path.append(sys.argv[1])
print("tree-sitter-pwsh", version("tree-sitter-pwsh"))
"""

# Wine fills a new prefix with copies of all its libraries, which takes longer than most programs
# run. A prefix of links, marked as up to date, does for a console program.
RUN_BY_WINE = """\
for windows in /usr/lib/*/wine/x86_64-windows /usr/lib*/wine/x86_64-windows \
    /opt/wine*/lib*/wine/x86_64-windows; do
    [ -d "$windows" ] && break
done
export HOME=/tmp/wine WINEPREFIX=/tmp/wine/prefix WINEDEBUG=-all
export WINEDLLOVERRIDES="mscoree=;mshtml=;winemenubuilder.exe="
system=$WINEPREFIX/drive_c/windows/system32
mkdir -p "$system" "$WINEPREFIX/dosdevices"
ln -s ../drive_c "$WINEPREFIX/dosdevices/c:"
ln -s / "$WINEPREFIX/dosdevices/z:"
ln -s "$windows"/* "$system"
echo disable >"$WINEPREFIX/.update-timestamp"
exec "$0" program.exe 2>/dev/null
"""
