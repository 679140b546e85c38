#!/bin/sh
# Lab @LAB@: prepare a Debian (12 or 13) for grading, once, as root; Gradescope runs this when it builds the image.
# RINGLET_ROOT: where the kit goes. KERNEL_BUILD: a kernel that is built already (optional).
set -e
here=$(cd "$(dirname "$0")" && pwd)
root=${RINGLET_ROOT:-$here/ringlet}
if ! command -v make > /dev/null || ! command -v xz > /dev/null || [ ! -x /usr/bin/python3 ]; then
	apt-get update
	apt-get install -y --no-install-recommends make xz-utils python3
fi
if ! /usr/bin/python3 -c 'import tomllib'; then
	echo "python3 is older than 3.11: use Debian 12 or 13" >&2
	exit 1
fi
if [ ! -e "$root/Makefile" ]; then
	mkdir -p "$root"
	tar -xf "$here/ringlet.tar.xz" -C "$root"
fi
make -C "$root" all
# Our half of the system, which the tests need, is built at the first grading: have that behind us, too.
"$root/tools/lab" warm @LAB@
