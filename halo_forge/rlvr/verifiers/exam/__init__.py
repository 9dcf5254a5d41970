"""Testing functions across a wall: the tests on one side, the model's code on the other.

Two processes run in one sandbox. The *examiner* runs the tests and never runs model code; in the
place of the program it has stand-ins, which hand every call over. The *candidate* runs the
program, knows no test and no expected value, and answers with plain values. So nothing a program
does to its own process can turn a wrong value into a right one.

These modules run inside the sandbox, out of an archive (`archive`), with the standard library and
nothing else. They import each other and no other part of halo-forge.
"""
