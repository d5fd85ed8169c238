#!/bin/bash
# Process 1 of a node of the testbed, in the place of systemd: it starts containerd and the kubelet, and on SIGINT, which is
# Ctrl-Alt-Del to systemd(1), ends everything, finalises what is staged, and ends with status 0: reboot.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
umount -l /run/testbed/old
mount --make-rshared /
hostname -F /etc/hostname
[ -s /etc/machine-id ] || tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id
mkdir -p -m 755 /var/log /var/lib /var/home /var/roothome /run/lock
mkdir -p -m 1777 /var/tmp

rebooting=
trap 'rebooting=yes' INT

containerd --config /etc/containerd/config.toml >> /var/log/containerd.log 2>&1 &
until ctr version > /dev/null 2>&1 || [ -n "$rebooting" ]; do sleep 0.1; done
# It ends when containerd answers, but not yet as a runtime of containers, and a unit would be started again.
while :; do
  kubelet --config /etc/kubernetes/kubelet.yaml --kubeconfig /etc/kubernetes/kubelet.kubeconfig \
    --hostname-override "$(cat /etc/hostname)" --node-ip "$(cat /etc/kubernetes/node-ip)" --v 2
  sleep 0.5
done >> /var/log/kubelet.log 2>&1 &

# A signal ends the waiting; so does a child that ends, and one that it has inherited.
while [ -z "$rebooting" ]; do
  wait -n || sleep 0.2
done

kill -TERM -1 2> /dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do
  sleep 0.1
  [ "$(ls -d /proc/[0-9]* 2> /dev/null | wc -l)" -le 3 ] && break
done
kill -KILL -1 2> /dev/null
if [ -e /run/ostree/staged-deployment ] && [ ! -e /run/ostree/staged-deployment-locked ]; then
  # systemd runs it with mounts of its own, too.
  unshare --mount --propagation private sh -c 'mount -o remount,bind,rw /sysroot && ostree admin finalize-staged' \
    >> /var/log/finalize-staged.log 2>&1
fi
exit 0
