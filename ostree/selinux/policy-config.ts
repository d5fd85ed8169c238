/** `etc/selinux/config`: whether a system has SELinux at all, and the name of its policy. selinux_config(5). */
import { PolicyError } from './errors.ts';

/** The name becomes part of a path. */
const POLICY_NAME = /^[A-Za-z0-9][-._A-Za-z0-9]*$/;

/**
 * The name of the policy, such as `targeted`, or undefined if SELinux is disabled. As libostree reads it: keys begin
 * their lines, of several names the last counts, and one line that enables SELinux is enough.
 *
 * @throws {PolicyError} `InvalidPolicy` if SELinux is enabled and the policy has no usable name.
 */
export function parsePolicyConfig(text: string): string | undefined {
  let enabled = false;
  let name: string | undefined;
  for (const line of text.split('\n')) {
    if (line.startsWith('SELINUXTYPE=')) name = line.slice('SELINUXTYPE='.length).trim();
    else if (/^SELINUX=(enforcing|permissive)/i.test(line)) enabled = true;
  }
  if (!enabled) return undefined;
  if (name === undefined || !POLICY_NAME.test(name)) {
    const found = name === undefined ? 'does not name' : `names ${JSON.stringify(name.slice(0, 80))} as`;
    throw new PolicyError('InvalidPolicy', `selinux/config enables SELinux and ${found} the policy (SELINUXTYPE)`);
  }
  return name;
}
