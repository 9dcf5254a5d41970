"""Go without its build driver: the verdicts of `go build` on programs of every kind."""

from __future__ import annotations

import pytest

from halo_forge.rlvr.verifiers import GoVerifier, workbench
from halo_forge.sandbox import Job, Step

pytestmark = pytest.mark.toolchain("go")


def _main(body: str, imports: str = '"fmt"', more: str = "") -> str:
    return f"package main\n\nimport {imports}\n\n{more}\nfunc main() {{\n\t{body}\n}}\n"


PROGRAMS = {
    "right": _main("fmt.Println(42)"),
    "wrong": _main("fmt.Println(41)"),
    "panics": _main('fmt.Println(42)\n\tpanic("no")'),
    "out of range": _main("a := []int{1}\n\tfmt.Println(a[len(a)+1])"),
    "exit code": _main("fmt.Println(42)\n\tos.Exit(3)", '(\n\t"fmt"\n\t"os"\n)'),
    "unused variable": _main("x := 1\n\tfmt.Println(42)"),
    "unused import": _main("fmt.Println(42)", '(\n\t"fmt"\n\t"os"\n)'),
    "undefined": _main("fmt.Println(nothing)"),
    "wrong type": _main('var x int = "1"\n\tfmt.Println(x)'),
    "many errors": _main("\n\t".join(f"a{n} := {n}" for n in range(15)) + "\n\tfmt.Println(42)"),
    "missing return": _main("fmt.Println(f())", more="func f() int { }"),
    "no body": _main("fmt.Println(f())", more="func f() int"),
    "generics": _main("fmt.Println(id(42))", more="func id[T any](x T) T { return x }"),
    "no main": "package main\n\nimport \"fmt\"\n\nfunc Main() { fmt.Println(42) }\n",
    "main with arguments": 'package main\n\nimport "fmt"\n\nfunc main(a int) { fmt.Println(a) }\n',
    "two mains": _main("fmt.Println(42)", more="func main() { fmt.Println(1) }"),
    "wrong package": 'package tool\n\nimport "fmt"\n\nfunc main() { fmt.Println(42) }\n',
    "no package": 'import "fmt"\n\nfunc main() { fmt.Println(42) }\n',
    "syntax": _main("fmt.Println(42"),
    "syntax of an import": _main("fmt.Println(42)", "fmt"),
    "statement outside": _main("fmt.Println(42)", more="x := 1"),
    "unknown import": _main("nothing.F(fmt.Sprint(1))", '(\n\t"fmt"\n\t"nothing"\n)'),
    "foreign import": _main("x.F()\n\tfmt.Println(42)", '(\n\t"fmt"\n\t"github.com/a/x"\n)'),
    "relative import": _main("x.F()\n\tfmt.Println(42)", '(\n\t"fmt"\n\tx "./x"\n)'),
    "internal": _main("fmt.Println(abi.FuncPCABI0(nil))", '(\n\t"fmt"\n\t"internal/abi"\n)'),
    "another's internal": _main(
        "fmt.Println(42, testlog.PanicOnExit0())", '(\n\t"fmt"\n\t"internal/testlog"\n)'
    ),
    "net": _main('fmt.Println(net.ParseIP("::1"), 42)', '(\n\t"fmt"\n\t"net"\n)'),
    "net in vain": _main("fmt.Println(42)", '(\n\t"fmt"\n\t_ "net/http"\n)'),
    "cgo": _main("fmt.Println(C.int(42))", '(\n\t"C"\n\t"fmt"\n)'),
    "embed": _main(
        "fmt.Println(s)", '(\n\t_ "embed"\n\t"fmt"\n)', "//go:embed main.go\nvar s string\n"
    ),
    "embed without import": _main("fmt.Println(s)", more="//go:embed main.go\nvar s string\n"),
    "generate": _main("fmt.Println(42)", more="//go:generate touch /tmp/x\n"),
    "linkname": _main(
        "fmt.Println(42, now() > 0)", '(\n\t"fmt"\n\t_ "unsafe"\n)',
        "//go:linkname now runtime.nanotime\nfunc now() int64\n",
    ),
    "linkname, and a body": _main(
        "fmt.Println(42)", '(\n\t"fmt"\n\t_ "unsafe"\n)',
        "//go:linkname exit os.Exit\nfunc exit(int) { }\n",
    ),
    "cgo pragma": _main("fmt.Println(42)", more='//go:cgo_ldflag "-lm"\n'),
    "unsafe": _main("fmt.Println(40 + unsafe.Sizeof(int16(0)))", '(\n\t"fmt"\n\t"unsafe"\n)'),
    "constraint": "//go:build windows\n\n" + _main("fmt.Println(42)"),
    "many packages": _main(
        'fmt.Println(strings.Count("aa", "a")*len(sort.StringSlice{"x"})*21)',
        '(\n\t"bufio"\n\t"fmt"\n\t"math/big"\n\t"os"\n\t"sort"\n\t"strings"\n\t_ "regexp"\n'
        '\t_ "encoding/json"\n)',
        "var _ = bufio.NewReader(os.Stdin)\nvar _ big.Int\n",
    ),
    "build information": _main(
        "i, ok := debug.ReadBuildInfo()\n\tfmt.Println(ok, i)", '(\n\t"fmt"\n\t"runtime/debug"\n)'
    ),
    "where it is": _main(
        "_, file, line, _ := runtime.Caller(0)\n\tfmt.Println(file, line)",
        '(\n\t"fmt"\n\t"runtime"\n)',
    ),
    "line directive": _main("fmt.Println(42)\n//line /etc/passwd:1\n\tx := 1"),
    "import in a string": _main('fmt.Println("import")\n\tx := "syntax embed"'),
    "nul": _main("fmt.Println(42)") + "\0",
    "invalid UTF-8": _main('fmt.Println("\udcff")'),
    "byte order mark": "\ufeff" + _main("fmt.Println(42)"),
}  # fmt: skip


def test_verdicts_are_those_of_the_driver(sandbox, monkeypatch) -> None:
    """Each program gets, by compiler and linker alone, the whole verdict that `go build` gives."""
    verifier = GoVerifier(expected_output="42", sandbox=sandbox)
    answers = [f"```go\n{code}\n```" for code in PROGRAMS.values()]
    with monkeypatch.context() as patch:
        patch.setattr(workbench, "stock", lambda *_: None)
        expected = dict(zip(PROGRAMS, verifier.verify_batch(answers), strict=True))
    for _ in range(4):  # two workers, and what is kept is made when it is asked for again
        verifier.verify_batch([f"{answers[0]}\n{n}" for n in range(2)])
    found = dict(zip(PROGRAMS, verifier.verify_batch(answers), strict=True))
    assert {n: r for n, r in found.items() if r != expected[n]} == {}
    rewards = {name: result.reward for name, result in expected.items()}
    assert (rewards["right"], rewards["wrong"], rewards["panics"]) == (1.0, 0.7, 0.5)


def test_the_driver_is_really_left_out(sandbox) -> None:
    """With the stock at hand a program that needs no driver is built for less without it."""
    if sandbox.backend != "namespaces":
        pytest.skip(f"the backend {sandbox.backend} keeps nothing for builds")
    tool = (verifier := GoVerifier(sandbox=sandbox))._tool(verifier._languages()[0])
    kept = workbench.stock(tool.toolchain, tool.driver, tool.version, ())
    step = Step(tuple(tool.toolchain.build_argv(tool.driver, ())), limits=kept.build.limits)
    files = {"main.go": PROGRAMS["right"].encode()}
    slow = min(sandbox.run(Job(files, step)).build.cpu for _ in range(5))
    for _ in range(4):
        sandbox.run(Job(files, step, kept=kept))
    fast = min(sandbox.run(Job(files, step, kept=kept)).build.cpu for _ in range(5))
    assert fast < 0.75 * slow, (fast, slow)
