#!/usr/bin/env bash
# Build the image localhost/halo-forge:VARIANT.
#
#   toolbox/build.sh [gfx1151|cuda|cpu]        gfx1151 when absent
#
#   INDEX=URL     package index that has the variant's torch. gfx1151 needs AMD's wheel index, whose
#                 address TheRock's RELEASES.md has; the others have one of their own or take pip's.
#   ENGINE=NAME   podman or docker; what is installed when absent
#   DRY=1         print the command instead of running it
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
    echo "build.sh: $*" >&2
    exit 1
}

variant=${1:-gfx1151}
# shellcheck source=versions.env
source "$here/versions.env"
case $variant in
gfx1151)
    torch=$TORCH_GFX1151 least=$LEAST_ROCM
    [[ -n ${INDEX:-} ]] || fail "gfx1151 needs INDEX=URL, AMD's wheel index: see TheRock's" \
        "RELEASES.md (github.com/ROCm/TheRock). pip's own index has no torch for this card."
    ;;
cuda) torch=$TORCH_CUDA least="" ;;
cpu) torch=$TORCH_CPU least="" ;;
*) fail "unknown variant '$variant'; there are gfx1151, cuda and cpu" ;;
esac

engine=${ENGINE:-}
for name in podman docker; do
    [[ -z $engine ]] && command -v "$name" >/dev/null && engine=$name
done
[[ -n $engine || ${DRY:-} ]] || fail "neither podman nor docker is installed"

image=localhost/halo-forge:$variant
build=(
    "${engine:-podman}" build --file "$here/Dockerfile" --tag "$image"
    --build-arg "BASE=$BASE" --build-arg "PYTHON=$PYTHON"
    --build-arg "TORCH=$torch" --build-arg "INDEX=${INDEX:-}" --build-arg "LEAST_ROCM=$least"
    "$(dirname "$here")"
)
if [[ ${DRY:-} ]]; then
    printf '%q ' "${build[@]}"
    echo
    exit
fi
"${build[@]}"
"$engine" tag "$image" localhost/halo-forge:latest
"$engine" run --rm "$image" halo-forge test --level smoke
echo "Built $image. How to enter it: toolbox/TOOLBOX_SETUP.md"
