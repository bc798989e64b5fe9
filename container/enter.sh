#!/bin/sh
# usage: unshare --mount --propagation private sh enter.sh TREE FOLDER COMMAND...
# Runs a command with TREE as its root, and FOLDER at the same place inside. What is mounted here is
# seen by no other process, and gone when the last process in here ends.
set -eu
tree=$1
folder=$2
shift 2

mount --bind "$tree" "$tree"
for name in dev proc sys; do
    mount --rbind "/$name" "$tree/$name"
done
mkdir -p "$tree$folder" "$tree/outside"
mount --bind "$folder" "$tree$folder"
cd "$tree"
pivot_root . outside
umount -l /outside
cd "$folder"
exec env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
