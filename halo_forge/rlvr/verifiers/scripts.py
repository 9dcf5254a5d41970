"""Scripts that run in the sandbox beside a program: parsers, and what prepares a run."""

from __future__ import annotations

__all__ = [
    "BUILD_BY_DOTNET",
    "BUILD_GO",
    "DOTNET_VERSION",
    "GRAMMAR_VERSION",
    "INSTANTIATE_EARLY",
    "LIST_GO_PACKAGES",
    "PARSE_BY_GRAMMAR",
    "PARSE_POWERSHELL",
    "PARSE_PYTHON",
    "PRECOMPILE_GXX",
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

# Go's build driver spends more time on looking around than its compiler on compiling. Where the
# compiled standard library is at hand, the compiler and the linker are called as the driver would
# call them. Whatever does not pass that way (imports that are not in the list, syntax the driver
# reports in its own words, a package that is no program) is left to the driver, whose word counts.
BUILD_GO = """\
export GO111MODULE=off CGO_ENABLED=0 GOCACHE=/tmp/go GOFLAGS=-p=1
kept=
for word; do
    shift
    case $word in
    -kept=*) kept=${word#-kept=} ;;
    *) set -- "$@" "$word" ;;
    esac
done
if [ -n "$kept" ]; then
    read -r tools <"$kept/tools"
    "$tools/compile" -o /tmp/main.a -p main -complete -dwarf=false -c=1 -D _/box \
        -importcfg "$kept/importcfg" -pack ./main.go >/tmp/said 2>&1
    case $?,$(cat /tmp/said) in
    0,*)
        "$tools/link" -o program -importcfg "$kept/importcfg.link" -buildmode=exe -w \
            /tmp/main.a 2>/tmp/said >&2 && exit 0
        rm -f program ;;
    *import*|*syntax*|*embed*|*internal*) ;;
    2,./main.go:*|1,./main.go:*)
        echo "# command-line-arguments" >&2
        cat /tmp/said >&2
        exit 2 ;;
    esac
fi
exec "$0" build -o program "$@" main.go
"""

# The packages that the driver itself would take as they lie there; none since Go 1.20, which brings
# no compiled packages. Other packages' internals are for the linker alone.
LIST_GO_PACKAGES = """\
export GO111MODULE=off CGO_ENABLED=0 GOCACHE=/tmp/go GOFLAGS=-p=1
"$0" list -f '{{if and .Target (not .Stale)}}packagefile {{.ImportPath}}={{.Target}}{{end}}' std \
    >listed && [ -s listed ] || exit 1
printf 'package main\\nfunc main() {}\\n' >main.go
"$0" build -x -o main main.go 2>&1 | grep '^modinfo ' >importcfg.link || exit 1
cat listed >>importcfg.link
grep -v -E '[ /]internal/|/internal=|^packagefile (vendor|cmd|runtime/cgo)' listed >importcfg
"$0" env GOTOOLDIR >tools
"""

# What the SDK would do beside building is turned off: questions to the network, servers that stay,
# files in a home directory. A collector of its usual size would not fit into the limit of memory.
BUILD_BY_DOTNET = """\
export DOTNET_CLI_HOME=/tmp DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1
export DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1 DOTNET_GENERATE_ASPNET_CERTIFICATE=false
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 DOTNET_ROLL_FORWARD=Major
export DOTNET_EnableDiagnostics=0 DOTNET_EnableWriteXorExecute=0
export DOTNET_GCHeapHardLimit=0x20000000 DOTNET_TieredPGO=0
export MSBUILDDISABLENODEREUSE=1 NUGET_PACKAGES=/tmp/nuget
version=$("$0" --version) || exit 1
major=${version%%.*}
minor=${version#*.}
framework=net$major.${minor%%.*}
[ "$major" -lt 5 ] && framework=netcoreapp$major.${minor%%.*}
cat >NuGet.Config <<'END'
<configuration><packageSources><clear/></packageSources></configuration>
END
cat >program.csproj <<END
<Project>
  <PropertyGroup><BaseIntermediateOutputPath>/tmp/obj/</BaseIntermediateOutputPath></PropertyGroup>
  <Import Project="Sdk.props" Sdk="Microsoft.NET.Sdk"/>
  <PropertyGroup>
    <OutputType>Exe</OutputType>
    <TargetFramework>$framework</TargetFramework>
    <RollForward>Major</RollForward>
    <InvariantGlobalization>true</InvariantGlobalization>
    <ConcurrentGarbageCollection>false</ConcurrentGarbageCollection>
    <AllowUnsafeBlocks>true</AllowUnsafeBlocks>
    <Deterministic>true</Deterministic>
    <DebugType>none</DebugType>
    <UseAppHost>false</UseAppHost>
    <GenerateAssemblyInfo>false</GenerateAssemblyInfo>
    <GenerateTargetFrameworkAttribute>false</GenerateTargetFrameworkAttribute>
  </PropertyGroup>
  <Import Project="Sdk.targets" Sdk="Microsoft.NET.Sdk"/>
</Project>
END
exec "$0" build program.csproj -nologo -v:q -m:1 -nodeReuse:false -c:Release -o:out \
    -clp:NoSummary -p:UseSharedCompilation=false -p:UseRazorBuildServer=false "$@" 1>&2
"""

DOTNET_VERSION = """\
export DOTNET_CLI_HOME=/tmp DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_ROLL_FORWARD=Major
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 DOTNET_EnableWriteXorExecute=0
export DOTNET_GCHeapHardLimit=0x8000000
version=$("$0" --version) && echo ".NET SDK $version"
"""

# Wine fills a new prefix with copies of all its libraries, which takes longer than most programs
# run. A prefix of links, marked as up to date, does for a console program. The debugger that it
# starts on a crash may end the program itself, with code 0, and a crash must not look like a good
# end (seen outside a sandbox, on a Wine that was already running).
RUN_BY_WINE = """\
for windows in /usr/lib/*/wine/x86_64-windows /usr/lib*/wine/x86_64-windows \
    /opt/wine*/lib*/wine/x86_64-windows; do
    [ -d "$windows" ] && break
done
export HOME=/tmp/wine WINEPREFIX=/tmp/wine/prefix WINEDEBUG=-all
export WINEDLLOVERRIDES="mscoree=;mshtml=;winemenubuilder.exe=;winedbg.exe="
system=$WINEPREFIX/drive_c/windows/system32
mkdir -p "$system" "$WINEPREFIX/dosdevices"
ln -s ../drive_c "$WINEPREFIX/dosdevices/c:"
ln -s / "$WINEPREFIX/dosdevices/z:"
ln -s "$windows"/* "$system"
echo disable >"$WINEPREFIX/.update-timestamp"
exec "$0" program.exe 2>/dev/null
"""

# What GCC's own headers would declare, so that they need not be installed: the interface of
# plug-ins has been this since GCC 4.8, and what is here may change nothing but how long a build
# takes. The symbols are of gcc/c-family/c-pragma.h and gcc/cp/cp-tree.h, the number of the event
# of gcc/plugin.def.
INSTANTIATE_EARLY = """\
struct plugin_name_args { char *base_name; };
class cpp_reader;
extern "C" void register_callback(const char *, int, void (*)(void *, void *), void *);
void c_register_pragma(const char *, const char *, void (*)(cpp_reader *));
void instantiate_pending_templates(int);
static void instantiate(cpp_reader *) { instantiate_pending_templates(0); }
static void at_pragmas(void *, void *) {
  c_register_pragma("halo_forge", "instantiate", instantiate);
}
extern "C" {
int plugin_is_GPL_compatible;
int plugin_init(plugin_name_args *info, void *) {
  const int pragmas = 15;
  register_callback(info->base_name, pragmas, at_pragmas, nullptr);
  return 0;
}
}
"""

# $0 is the driver, $1 the text of the plug-in, the rest flags. Whatever goes wrong with the
# plug-in, a header without it is as right.
PRECOMPILE_GXX = """\
printf '%s' "$1" >early.cc
shift
{ cat preamble.h; echo '#pragma halo_forge instantiate'; } >early.h
"$0" -shared -fPIC early.cc -o early.so && "$0" -fplugin=./early.so "$@" \\
    -x c++-header early.h -o preamble.h.gch || "$0" "$@" -x c++-header preamble.h -o preamble.h.gch
"""
