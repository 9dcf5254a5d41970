"""What limits each number of docs/PERFORMANCE.md, and what was tried and did not pay: one place.

A claim names its note by the key ``limit``.
"""

from __future__ import annotations

__all__ = ["LIMITS", "TRIED"]

LIMITS = {
    "rollout": "A step reads all weights and the keys and values of every row, and multiplies each "
    "weight by as many rows: with few rows memory bandwidth decides, with many the rate of matrix "
    "products. What is missing to the roofline is attention over short rows, sampling, and the "
    "launch of some hundred small operations a step.",
    "train": "Matrix products, forward and backward. What is missing to the roofline is attention, "
    "element-wise work between the products, and the optimizer's start.",
    "cycle": "Generation, then training; see their own benches. Verdicts come while answers are "
    "still being generated, and on a machine without a graphics card they share its cores.",
    "threads": "While a compiler has a core, the thread that shares it is late at each of the some "
    "hundred meetings of a step; how late, the scheduler says.",
    "startup": "Python's own start, and reading click and the table of commands.",
    "verify": "The compiler: processor time for parsing headers, optimising and linking.",
    "products": "How a library lays out a matrix of weights for few rows.",
    "plan": "What answers come out, how long they get and how many are kept, is known only from an "
    "earlier run; beside that the noise of the machine between the rehearsal and the run.",
}
"""A sentence or two for each key."""

TRIED = (
    (
        "Packing weights in bfloat16 by oneDNN",
        "no more speed where we could try it, on a processor that emulates the format "
        "([010](design/010-rollouts-near-the-roofline.md))",
    ),
    (
        "`torch.nn.functional.linear_cross_entropy` and TRL's fused output layer on a CPU",
        "the first tells no entropy, the second scores prompts too and passes over each tile "
        "several times ([011](design/011-training-without-waste.md))",
    ),
    (
        "A mask over a packed row instead of one causal call for each answer",
        "the same figures, and every pair of positions of different answers computed first "
        "([011](design/011-training-without-waste.md))",
    ),
    (
        "Linkers of small programs without threads",
        "flags for the linker keep g++ from making a precompiled header, and C++ then cost as much "
        "as plain g++ ([log](LOG.md))",
    ),
)
"""What was tried, and why it is not there."""
