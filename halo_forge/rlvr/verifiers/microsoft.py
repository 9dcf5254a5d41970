"""Rows of the toolchain table for Microsoft's compilers."""

from __future__ import annotations

import re
from dataclasses import replace

from halo_forge.rlvr.verifiers.languages import LANGUAGES
from halo_forge.rlvr.verifiers.toolchain import DRIVER, Toolchain
from halo_forge.sandbox.ssh import PRODUCTS

__all__ = ["CL", "CL_C"]

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
