/**
 * How a test speaks to a virtual machine: a shell script in the guest answers scripts that come in on the second serial
 * port. It needs neither network nor login, and kernel messages do not get in between: those go to the first port.
 */

/** Says which boot this is, then answers each line `ID BASE64-OF-A-SCRIPT` with `END ID EXIT-STATUS BASE64-OF-ITS-OUTPUT`. */
const SCRIPT = `#!/bin/sh
stty raw -echo
printf 'READY %s\\n' "$(cat /proc/sys/kernel/random/boot_id)"
while read -r id script; do
  output=$(sh -c "$(printf %s "$script" | base64 -d)" 2>&1 </dev/null)
  status=$?
  printf 'END %s %s %s\\n' "$id" "$status" "$(printf %s "$output" | base64 -w 0)"
done
`;

const UNIT = `[Unit]
Description=Console of the testbed
DefaultDependencies=no
After=local-fs.target dbus.socket
IgnoreOnIsolate=yes

[Service]
ExecStart=/bin/sh /usr/lib/treeline-testbed/console
StandardInput=tty
StandardOutput=tty
StandardError=journal
TTYPath=/dev/ttyS1
Restart=always
`;

export const CONSOLE = { script: SCRIPT, unit: UNIT };
