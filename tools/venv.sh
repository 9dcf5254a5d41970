# Make the virtual environment:  venv.sh pinned|system PYTHON VENV
# With `system` the torch that PYTHON can import is put on the path of the environment, after the
# environment's own packages. (--system-site-packages would miss a torch that lives in another
# virtual environment, which is where ROCm users often have it.)
set -eu
torch=$1 python=$2 venv=$3

fail() {
    echo "$*" >&2
    exit 1
}

case $torch in
pinned | system) ;;
*) fail "TORCH is '$torch'; it can be 'pinned' (the version in constraints.txt) or 'system'." ;;
esac

command -v "$python" >/dev/null ||
    fail "No Python found as '$python'. Install Python 3.11 or newer, or name it: PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "halo-forge needs Python 3.11 or newer, and '$python' is $("$python" -V 2>&1). Name another one: PYTHON=python3.12"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "'$python' cannot make virtual environments. On Debian and Ubuntu: sudo apt install python3-venv"

find_torch='import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s else "")'
if [ "$torch" = system ]; then
    found=$("$python" -c "$find_torch")
    [ -n "$found" ] ||
        fail "TORCH=system, but '$python' has no torch. Name the Python that has it: PYTHON=/path/to/python3"
fi

if [ "$(cat "$venv/.torch" 2>/dev/null || echo "$torch")" = "$torch" ]; then
    "$python" -m venv "$venv"
else
    "$python" -m venv --clear "$venv" # the other torch must not stay behind
fi
if [ "$torch" = system ]; then
    dirname "$found" >"$(echo "$venv"/lib/python3*/site-packages)/system_torch.pth"
    "$venv/bin/python" -c 'import torch; print("Using torch", torch.__version__, "from", torch.__file__)'
fi
echo "$torch" >"$venv/.torch"
