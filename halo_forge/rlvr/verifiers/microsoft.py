"""Rows of the toolchain table for Microsoft's compilers."""

from __future__ import annotations

import re
from dataclasses import replace

from halo_forge.rlvr.verifiers import scripts
from halo_forge.rlvr.verifiers.languages import LANGUAGES
from halo_forge.rlvr.verifiers.toolchain import DRIVER, HEAP, RUNNER, Toolchain
from halo_forge.sandbox.ssh import PRODUCTS

__all__ = ["CL", "CL_C", "DOTNET", "MCS"]

_PROGRAM = f"{PRODUCTS}/program.exe"

CL = Toolchain(
    name="cl",
    language=LANGUAGES["cpp"],
    driver="cl",
    remote=True,
    swapped=True,
    build=(
        # The bytes of the source are UTF-8, and so are those that the program prints.
        DRIVER, "/nologo", "/utf-8", "/EHsc", "main.cpp", f"/Fe:{_PROGRAM}",
    ),
    flags=("/std:c++17", "/permissive-", "/O2", "/w"),
    strict=("/std:c++17", "/permissive-", "/O2", "/W4"),
    unlinked=("/c",),
    run=(_PROGRAM,),
    product=None,
    version=(DRIVER,),
    warning=re.compile(r"\bwarning C\d+"),
    mutes=re.compile(r"#\s*pragma\s+warning\b|\b__pragma\s*\(|\b_Pragma\s*\("),
    error=re.compile(r"\b(?:error|fatal error) (?:C|D|LNK)\d+"),
    kinds=tuple(
        (kind, re.compile(pattern))
        for kind, pattern in (
            ("internal", r"C1(?:001|002|060|063|076|126|128)\b"),
            ("missing-header", r"C1083\b"),
            ("link", r"LNK\d+"),
            ("undeclared", r"C(?:2065|3861|2039|2653|2228|2027|3646|2614|2504)\b"),
            ("redefinition", r"C2(?:011|084|086|370|371|372|373|374|556|572)\b"),
            ("arguments", r"C2(?:660|661|198|197|511|512|780)\b"),
            ("type", r"C2(?:440|446|664|665|666|676|677|678|679|672|088|106|166|664|100|109)\b|"
                     r"C7\d\d\d\b"),
            ("syntax", r"C2(?:001|002|017|018|059|061|062|065|128|143|144|145|146|181|447|448|"
                       r"760|838)\b|C1(?:004|075|018|020|021|070|071)\b|C4430\b"),
        )
    ),
    good='#include <cstdio>\nint main() { std::puts("ok"); }\n',
    bad="int main() { return undeclared; }\n",
    install=(
        ("Windows", "Visual Studio Build Tools with \"Desktop development with C++\""),
    ),
)  # fmt: skip
"""C++ by cl.exe, which is reached by SSH; see `halo_forge.sandbox.ssh`."""

CL_C = replace(
    CL,
    name="cl-c",
    language=LANGUAGES["c"],
    build=(DRIVER, "/nologo", "/utf-8", "main.c", f"/Fe:{_PROGRAM}"),
    flags=("/std:c17", "/O2", "/w"),
    strict=("/std:c17", "/O2", "/W4"),
    good='#include <stdio.h>\nint main(void) { puts("ok"); return 0; }\n',
    bad="int main(void) { return undeclared; }\n",
)
"""C by the same compiler."""

_CSHARP_KINDS = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("undeclared", r"CS0(?:103|117|234|246)\b|CS1061\b"),
        ("type", r"CS0(?:019|029|030|266|428)\b|CS1503\b"),
        ("arguments", r"CS15(?:01|02)\b|CS7036\b"),
        ("link", r"CS5001\b"),
        ("syntax", r"CS1(?:00[0-9]|01[0-9]|02[0-9]|51[0-9]|525)\b|CS8025\b"),
    )
)

MCS = Toolchain(
    name="mcs",
    language=LANGUAGES["csharp"],
    driver="mcs",
    build=(DRIVER, "-nologo", "-optimize+", "-out:program.exe", "main.cs"),
    flags=("-warn:0",),
    strict=("-warn:4",),
    unlinked=("-target:library",),
    run=(RUNNER, "program.exe"),
    product="program.exe",
    runner="mono",
    warning=re.compile(r"\bwarning CS\d+"),
    mutes=re.compile(r"#\s*pragma\s+warning\s+disable"),
    error=re.compile(r"\berror CS\d+"),
    kinds=_CSHARP_KINDS,
    good='class Program { static void Main() { System.Console.WriteLine("ok"); } }\n',
    bad="class Program { static void Main() { undeclared(); } }\n",
    install=(
        ("Fedora", "sudo dnf install mono-core"),
        ("Debian/Ubuntu", "sudo apt install mono-mcs mono-runtime"),
        ("macOS", "brew install mono"),
    ),
)  # fmt: skip
"""C# by Mono, where there is no SDK of .NET."""

DOTNET = replace(
    MCS,
    name="dotnet",
    driver="dotnet",
    build=("sh", "-c", scripts.BUILD_BY_DOTNET, DRIVER),
    flags=("-p:WarningLevel=0",),
    strict=("-p:WarningLevel=4",),
    unlinked=("-p:OutputType=Library",),
    run=(
        *("env", "DOTNET_EnableWriteXorExecute=0", f"DOTNET_GCHeapHardLimit={HEAP}"),
        *("DOTNET_TieredPGO=0", DRIVER, "out/program.dll"),
    ),
    reserve=4 << 30,
    version=("sh", "-c", scripts.DOTNET_VERSION, DRIVER),
    product="out/program.dll",
    runner=None,
    install=(
        ("Fedora", "sudo dnf install dotnet-sdk-8.0"),
        ("Ubuntu", "sudo apt install dotnet-sdk-8.0"),
        ("any system", "https://dotnet.microsoft.com/download"),
    ),
)
"""C# by ``dotnet build``: no network, no packages, no servers that stay."""
