#!/bin/sh
# A stand-in for systemctl(1) on the nodes of the testbed, which have no systemd. It knows what libostree and the agent ask for.
case $1 in
  reboot) kill -INT 1 && exit 0 ;;
  # Begun when a deployment is staged; what it does at shutdown, process 1 does here.
  start) [ "$2" = ostree-finalize-staged.service ] && exit 0 ;;
  # For drop-ins of the unit above, which process 1 does not read.
  daemon-reload) exit 0 ;;
esac
echo "systemctl of the testbed: there is no $*" >&2
exit 1
