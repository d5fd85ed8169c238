/** A lab that is killed as soon as it has something to leave: its folder, with a deployment that cannot be changed, and cgroups. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { makeCgroups } from '../../testbed/nodes/cgroups.ts';
import { LabFolder } from '../../testbed/nodes/lab-folder.ts';
import { runCommand } from '../../tools/setup/command.ts';

const lab = await LabFolder.claim(() => undefined);
const deployment = join(lab.path, 'disks/node-1/sysroot/ostree/deploy/os/deploy/0');
await mkdir(deployment, { recursive: true });
// As libostree does; where the file system has no such mark there is nothing to get over.
await runCommand('sh', ['-c', `chattr +i ${deployment} || true`]);
const cgroup = lab.cgroup('node-1');
await makeCgroups(join(cgroup, 'kubepods'));
process.stdout.write(`${lab.path} ${cgroup}\n`);
process.kill(process.pid, 'SIGKILL');
