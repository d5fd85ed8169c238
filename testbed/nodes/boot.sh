#!/bin/sh
# What boot loader, kernel and initramfs do, for a node of the testbed: it is run in namespaces of its own and goes over into
# the deployment that the newest boot entry names, as ostree-prepare-root(1) does. Arguments: the sysroot, a new boot ID, a
# directory that every cgroup hierarchy has for this node.
set -eu
top=$1 boot_id=$2

entry=$(grep -H '^version ' "$top"/boot/loader/entries/*.conf | sort -t ' ' -k 2 -n | tail -n 1)
options=$(sed -n 's/^options //p' "${entry%%:*}")
for word in $options; do
  case $word in ostree=*) link=${word#ostree=} ;; esac
done
root=$(readlink -f "$top$link")
state=${root%/deploy/*}

read_only() { mount -o remount,bind,ro "$1"; }

mount --bind "$root" "$root"
mount --bind "$top" "$root/sysroot"
read_only "$root/sysroot"
mount --bind "$top/boot" "$root/boot"
mount --bind "$state/var" "$root/var"
mount --bind "$root/usr" "$root/usr"
read_only "$root/usr"

# Nothing of the test machine that a privileged container should not have: a few devices, no disks.
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0' 'kmsg 1 11'; do
  set -- $device
  mknod -m 666 "$root/dev/$1" c "$2" "$3"
done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue"
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
mount -t mqueue mqueue "$root/dev/mqueue"
mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 run "$root/run"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mount -t proc proc "$root/proc"

# A kubelet sets these, and they are the machine's: here it sets copies. Of the rest only the network's, which are the lab's own.
mount --bind "$root/proc/sys" "$root/proc/sys"
read_only "$root/proc/sys"
mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
mount -o remount,bind,rw "$root/proc/sys/net"
mkdir -p "$root/run/testbed"
copy() {
  cp "$root/proc/$1" "$root/run/testbed/$2"
  mount --bind "$root/run/testbed/$2" "$root/proc/$1"
}
for name in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  if [ -e "$root/proc/sys/$name" ]; then copy "sys/$name" "$(echo "$name" | tr / .)"; fi
done
# This one would do it to the test machine, where the kernel has it.
if [ -e "$root/proc/sysrq-trigger" ]; then mount --bind /dev/null "$root/proc/sysrq-trigger"; fi

copy cmdline cmdline
echo "$options" > "$root/run/testbed/cmdline"
copy sys/kernel/random/boot_id boot-id
echo "$boot_id" > "$root/run/testbed/boot-id"
touch "$root/run/ostree-booted"

mkdir "$root/run/testbed/old"
cd "$root"
pivot_root . run/testbed/old
exec chroot . /usr/lib/treeline-testbed/init
