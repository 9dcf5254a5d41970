# Print the constraints of an environment:  constraints.sh pinned|system PYTHON
# With `system` the torch line names the torch that PYTHON already has: no index can replace it.
set -eu
if [ "$1" = pinned ]; then
    cat constraints.txt
else
    version=$("$2" -c 'from importlib.metadata import version; print(version("torch"))')
    sed "s/^torch==.*/torch==$version/" constraints.txt
fi
