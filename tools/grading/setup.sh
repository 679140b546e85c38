#!/bin/sh
# Lab @LAB@: prepare a Debian (12 or 13) for grading, once, as root; Gradescope runs this when it builds the image.
# RINGLET_ROOT: where the kit goes. KERNEL_BUILD: a kernel that is built already (optional).
set -e
here=$(cd "$(dirname "$0")" && pwd)
root=${RINGLET_ROOT:-$here/ringlet}
if [ ! -e "$root/Makefile" ]; then
	mkdir -p "$root"
	tar -xf "$here/ringlet.tar.xz" -C "$root"
fi
if ! command -v make > /dev/null || ! command -v git > /dev/null || [ ! -x /usr/bin/python3 ]; then
	apt-get update
	apt-get install -y --no-install-recommends make git python3
fi
make -C "$root" packages all
# Our half of the system, which the tests need, is built at the first grading: have that behind us, too.
"$root/tools/lab" warm @LAB@
