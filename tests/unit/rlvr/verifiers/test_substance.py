"""The gate stops what is no program and lets every honest program pass, however short."""

from __future__ import annotations

import pytest

from halo_forge.rlvr.verifiers.languages import LANGUAGES
from halo_forge.rlvr.verifiers.substance import hollow

HONEST_C = [
    "#include <stdio.h>\nint main(){puts(\"hi\");}",
    "#include <stdio.h>\nint main(void) { return printf(\"7\\n\") < 0; }",
    "#include <cstdio>\nint main(){int a,b;scanf(\"%d%d\",&a,&b);printf(\"%d\",a+b);}",
    "#include <iostream>\nint main(){std::cout<<42;}",
    "#include <iostream>\nusing namespace std;\nint main(){int n;cin>>n;cout<<n*n;}",
    "#include <bits/stdc++.h>\n#define int long long\nusing namespace std;\n"
    "signed main(){int n;cin>>n;cout<<n;}",
    "#include <iostream>\n#include <string>\n"
    "int main(){std::string s;std::getline(std::cin,s);std::cout<<s;}",
    "main(){putchar(getchar());}",
    "#include <unistd.h>\nint main(){write(1,\"ok\",2);}",
    "#include <stdio.h>\nint main(){char s[99];fgets(s,99,stdin);fputs(s,stdout);}",
    "#include <iostream>\n#include <iterator>\n#include <algorithm>\n"
    "int main(){std::copy(std::istream_iterator<int>(std::cin),{},"
    "std::ostream_iterator<int>(std::cout,\" \"));}",
    "#include <stdio.h>\n#define P printf\nint main(){P(\"x\");}",
    "#include <iostream>\nauto main() -> int { std::cout << 1; }",
    "#include <iostream>\nstruct A{A(){std::cout<<1;}} a;\nint main(){}",
    "#include <stdio.h>\nint main()\n{\n"
    "  for(;;) { int c = getchar(); if (c < 0) break; putchar(c); }\n}",
    "#include <cstdio>\nint main(){std::puts(R\"(// not a comment)\");}",
    "#include <cstdio>\nint main(){ std::printf(\"%d\", 1'000'000); }",
    "int printf(const char*, ...);\nint main(void){ printf(\"/* no comment */\"); return 0; }",
    "#include <fstream>\nint main(){ std::ofstream(\"/dev/stdout\") << 1; }",
    "#include <wchar.h>\nint main(){ wprintf(L\"x\"); }",
]  # fmt: skip
HONEST_PYTHON = [
    "print(input())",
    "print('hi')",
    "print(sum(map(int, input().split())))",
    "import sys; print(sys.stdin.read()[::-1])",
    "import sys\nsys.stdout.write('x')",
    "for _ in range(3): print('a')",
    "def main():\n    print(1)\n\nmain()",
    "def main():\n    print(1)\n\nif __name__ == '__main__':\n    main()",
    "print(f'{int(input()) * 2}')",
    "x = f\"{print('a')}\"",
    "[print(i) for i in range(3)]",
    "*map(print, range(3)),",
    "exec(\"print(1)\")",
    "import this",
    "class A:\n    def __init__(self):\n        print(1)\nA()",
    "n = int(input())\nprint(n if n > 0 else -n)",
    "while True:\n    try:\n        print(input())\n    except EOFError:\n        break",
    "with open(0) as f:\n    print(f.read())",
    "(lambda: print(1))()",
    "print(\n    1,\n    2,\n)",
    "def f(): return 1\nprint(f())",
    "print('#')  # done",
    "\"\"\"Doc.\"\"\"\nimport os\nos.write(1, b'x')",
    "import fileinput\nfor line in fileinput.input(): print(line, end='')",
    "if 1:\n\tprint(1)",
    "async def m():\n    print(1)\nimport asyncio; asyncio.run(m())",
]  # fmt: skip
HOLLOW_C = {
    "empty": "",
    "white space": " \n\t;\n",
    "comment": "// int main() { std::cout << 1; }\n/* int main(){} */",
    "empty main": "int main(){}",
    "returns nothing": "int main() { return 0; }",
    "returns a constant": "int main(int argc, char **argv) { return -1; }",
    "void": "#include <iostream>\nusing namespace std;\nint main(void) { ; ; return 0; }",
    "declarations": "#include <vector>\n"
    "int main() { int x = 5; const char *s = \"cout\"; return 0; }",
    "words in comments": "int main() { /* cout << f(x) + y; while (1) */ "
    "return 0; // printf(\"\") \n }",
    "words in strings": "const char *s = \"cout << printf(1)\";\nint main() { return 0; }",
    "dead preprocessor block": "#if 0\nint f(){ printf(\"%d\", a + b); }\n#endif\nint main(){}",
    "no main": "#include <cstdio>\nvoid solve() { puts(\"x\"); }",
}  # fmt: skip
HOLLOW_PYTHON = {
    "empty": "",
    "comment": "# print(1)",
    "docstring": '"""print(input())"""',
    "pass": "pass",
    "ellipsis": "...",
    "constant": "0",
    "assignment": "x = 5\nname = 'print(1)'",
    "function never called": "def main():\n    print(input())\n",
    "class never used": "class A:\n    def run(self):\n        print(1)\n",
    "imports": "import sys\nfrom os import path\n",
    "stub": "def main():\n    pass\n\nif __name__ == '__main__':\n    pass",
}
SPEECHLESS = {
    "cpp": "#include <vector>\nint main() { std::vector<int> v; v.push_back(1 + 1); /* cout */ }",
    "python": "import sys\nsys.exit(0)  # print(1)",
}


@pytest.mark.parametrize("code", HONEST_C)
def test_honest_c_passes(code: str) -> None:
    """An honest C or C++ program passes, also where it must read or print."""
    assert hollow(code, LANGUAGES["cpp"], needs_io=True) is None


@pytest.mark.parametrize("code", HONEST_PYTHON)
def test_honest_python_passes(code: str) -> None:
    """An honest Python program passes, also where it must read or print."""
    assert hollow(code, LANGUAGES["python"], needs_io=True) is None


@pytest.mark.parametrize("case", HOLLOW_C)
def test_hollow_c_is_stopped(case: str) -> None:
    """A C++ program that does nothing is stopped, whatever its comments and strings say."""
    assert hollow(HOLLOW_C[case], LANGUAGES["cpp"]) is not None


@pytest.mark.parametrize("case", HOLLOW_PYTHON)
def test_hollow_python_is_stopped(case: str) -> None:
    """A Python program that does nothing is stopped."""
    assert hollow(HOLLOW_PYTHON[case], LANGUAGES["python"]) is not None


@pytest.mark.parametrize("language", SPEECHLESS)
def test_speechless_program_is_stopped_where_tests_exist(language: str) -> None:
    """A program that neither reads nor prints cannot pass a test; without tests it may work."""
    code = SPEECHLESS[language]
    assert hollow(code, LANGUAGES[language]) is None
    assert "neither reads" in (hollow(code, LANGUAGES[language], needs_io=True) or "")


def test_copy_of_the_prompt_is_stopped() -> None:
    """Code that stands in the prompt is no answer, however it is spaced."""
    code = '#include <cstdio>\nint main() { puts("a starter program"); }\n'
    prompt = f"Mend this program:\n\n{code.replace('    ', '  ')}\nIt should print b."
    assert hollow(code, LANGUAGES["cpp"], prompt=prompt) == "the program is a copy of the prompt"
    assert hollow(code.replace("a starter", "b"), LANGUAGES["cpp"], prompt=prompt) is None
    assert hollow("print(1)", LANGUAGES["python"], prompt="like print(1)") is None


def test_function_asked_for_must_be_there() -> None:
    """Where a function is asked for, it is needed instead of main."""
    code = "int add(int a, int b) { return a + b; }"
    assert hollow(code, LANGUAGES["c"], entry_point="add") is None
    assert hollow(code, LANGUAGES["c"], entry_point="sub") == "the program has no sub()"
